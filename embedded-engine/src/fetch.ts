/**
 * A program that fetches a model of the hub and ends: `--model hf:OWNER/REPO/FILE.gguf --models-dir DIR`, for other
 * engines that read GGUF files. Tells of its progress on standard error as one JSON object a line; serves nothing.
 */
import { parseArguments } from './arguments.ts';
import { createLog, messageOf } from './log.ts';
import { resolveModel } from './models/resolve.ts';

const log = createLog((line) => process.stderr.write(line), true);
const parsed = parseArguments(process.argv.slice(2), process.env);
const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());

if (parsed.kind !== 'run') {
  log({
    event: 'error',
    message: parsed.kind === 'wrong' ? parsed.message : 'It takes --model and --models-dir.',
  });
  process.exitCode = 2;
} else {
  const { model, modelsDir } = parsed.settings;
  try {
    const { path } = await resolveModel({ model, modelsDir, env: process.env, signal: stop.signal }, log);
    log({ event: 'note', message: `${path} is there`, path });
  } catch (thrown) {
    log({ event: 'error', message: messageOf(thrown) });
    process.exitCode = 1;
  }
}
