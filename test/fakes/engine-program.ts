#!/usr/bin/env node
/**
 * A fake engine as a program, to be launched in the place of a real one: it takes the arguments of any of them as they
 * are and looks only for its port, its model and where to publish events. What it is and how it fails is said beside
 * those, or by variables where the arguments are a profile's.
 *
 *   node test/fakes/engine-program.ts --engine vllm --port 8000 --model m [--load-ms 500] [--failure FAILURE]
 *
 *   FAKE_ENGINE, FAKE_LOAD_MS, FAKE_FAILURE        the same as variables
 *   FAKE_SLOW_WORDS                                of a slow answer, ten a second; 20 unless said
 *   FAKE_DEAF                                      what asks it to end is not heard, as by one that hangs in a driver
 *
 * FAILURE is one of fake.ts ("status 500", "hang", "stall", "slow", "truncated", "wrong type"), `hang at start` (its
 * model never comes), `crash` (ends at once with status 1), or `crash after MS`. `PUT /fake/failure` with a word of
 * fake.ts changes it while it runs; `PUT /fake/looks` says what becomes of questions after health and models.
 */
import { createServer } from 'node:http';
import { isFailure, LivingFake } from './engines/fake.ts';
import { kinds } from './engines/kinds.ts';

const argv = process.argv.slice(2);

/** The value behind the first of these options that is there. */
const option = (...names: string[]): string | undefined => {
  for (const name of names) {
    const at = argv.indexOf(name);
    if (at >= 0) return argv[at + 1];
  }
  return undefined;
};

const name = option('--engine') ?? process.env.FAKE_ENGINE ?? '';
const kind = kinds.get(name);
if (kind === undefined) {
  process.stderr.write(
    `--engine or FAKE_ENGINE must be one of ${[...kinds.keys()].join(', ')}, not "${name}".\n`,
  );
  process.exit(2);
}
if (argv.some((word) => /^--help(?:=all)?$/.test(word))) {
  process.stdout.write(`${kind.help}\n`);
  process.exit(0);
}

const failure = option('--failure') ?? process.env.FAKE_FAILURE ?? 'none';
const crash = /^crash(?: after (\d+))?$/.exec(failure);
if (crash !== null) {
  const end = (): void => {
    process.stderr.write('CUDA error: an illegal memory access was encountered\n');
    process.exit(1);
  };
  if (crash[1] === undefined) end();
  else setTimeout(end, Number(crash[1]));
}

/** Of a named pair such as `"endpoint":"tcp://..."` in JSON, as some engines take their events' endpoint. */
const endpointIn = (json: string | undefined): string | undefined =>
  /"endpoint": ?"([^"]+)"/.exec(json ?? '')?.[1];

const port = Number(option('--port') ?? process.env.OLLAMA_HOST?.split(':').pop() ?? 0);
const served = option('--served-model-name', '--served_model_name', '--served-name', '--alias');
const positional = argv[0] === 'serve' && argv[1]?.startsWith('-') === false ? argv[1] : undefined;
const model = served ?? option('--model', '--model-path') ?? positional ?? 'm';
const events = option('--kv-events') ?? endpointIn(option('--kv-events-config'));
const loadMs = Number(option('--load-ms') ?? process.env.FAKE_LOAD_MS ?? 0);

const fake = new LivingFake(kind, {
  models: [model],
  port,
  slowWords: Number(process.env.FAKE_SLOW_WORDS ?? 20),
  ...(events === undefined ? {} : { events }),
  loaded:
    failure === 'hang at start'
      ? new Promise(() => {})
      : new Promise((resolve) => setTimeout(resolve, loadMs)),
});
if (isFailure(failure)) fake.failure = failure;

// What never loads would have nothing to wait for.
const alive = createServer().listen(0, '127.0.0.1');
const isDeaf = process.env.FAKE_DEAF !== undefined;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (!isDeaf) process.exit(0);
    process.stderr.write(`fake ${name}: does not hear ${signal}\n`);
  });
}
process.stderr.write(`fake ${name}: loading ${model}\n`);
await fake.start();
alive.close();
process.stderr.write(`fake ${name}: serving ${model} at ${fake.url}\n`);
