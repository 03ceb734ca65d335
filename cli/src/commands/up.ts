/**
 * `cgn up`: edge, agent and engine on this machine, until Ctrl-C. Waits until a completion works, then prints where,
 * with which key, and what to paste. Everything it makes lies in the data directory and is found again next time.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { RepeatedSignals } from '@cognitora/protocol/repeated-signals';
import { AdminClient, defaultDataDirectory } from '../admin-client.ts';
import { monotonicMs } from '../clock.ts';
import { loadOrCreateCredentials, saveCredentials } from '../credentials.ts';
import { defaultModel } from '../default-model.ts';
import { Fleet } from '../fleet.ts';
import { issueTokens } from '../issued-tokens.ts';
import { checkModelFile } from '../model-file.ts';
import { Progress, say, sayJson, UserError, warn } from '../terminal.ts';
import { lock } from '../up-lock.ts';
import { portOf, wholeNumber, wrongArguments } from '../wrong-arguments.ts';
import { defaultPort, upReport } from './up-report.ts';

export const upHelp = `cgn up: serve an OpenAI-compatible endpoint from this machine

  Starts the edge (workerd), one agent and an engine, waits until a completion works, and prints the endpoint,
  an API key and a curl to paste. Ctrl-C stops everything. State is kept in the data directory. When its edge
  ends by itself it ends too, with status 1: where it is to stay up, a service manager starts it again.

Usage
  cgn up                                            the toy model: instant, offline, writes nonsense
  cgn up --model hf:OWNER/REPO/FILE.gguf            a real model from the hub, downloaded once
  cgn up --model ./model.gguf                       a GGUF file on this machine
  cgn up --engine-url http://127.0.0.1:8000 --profile vllm
                                                    an engine that runs already (vllm, sglang, llama-cpp, ...)

Options
  --port PORT             where the edge listens on 127.0.0.1 (default: 8080)
  --data-dir DIR          where keys, state, models and logs are kept (default: ~/.cognitora)
  --model MODEL           tiny, a path or hf:OWNER/REPO/FILE (default: the newest model in the data directory,
                          else tiny)
  --engine-url URL        attach to an OpenAI-compatible server instead of starting an engine; repeatable;
                          COGNITORA_ENGINE_API_KEY is sent to it as a bearer token
  --profile NAME          which engine --engine-url is, for all of them, as in docs/agent-config.md: vllm,
                          sglang, llama-cpp, ... Without it its load is not known, and its chats are not
                          continued elsewhere after a failure
  --alias PUBLIC=SERVED   offer the engine's model SERVED under the name PUBLIC; repeatable
  --replicas N            engines to start for the model (default: 1)
  --kvcached SOCKET       share the engine's KV with other hosts through this host's "cgn kvcached"
  --origin URL            another origin under which agents reach this edge, such as a proxy's; repeatable
  --json                  one line of JSON once requests are served: url, apiKey, adminKey, joinToken, pid
  --help                  this text
`;

const options = {
  port: { type: 'string', default: String(defaultPort) },
  'data-dir': { type: 'string' },
  model: { type: 'string' },
  'engine-url': { type: 'string', multiple: true },
  profile: { type: 'string' },
  alias: { type: 'string', multiple: true },
  replicas: { type: 'string', default: '1' },
  kvcached: { type: 'string' },
  origin: { type: 'string', multiple: true },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

export interface UpSettings {
  readonly port: number;
  readonly dataDirectory: string;
  readonly model: string;
  readonly engineUrls: readonly string[];
  /** Of all of `engineUrls`; undefined: any that speaks the API. The agent knows the names. */
  readonly profile: string | undefined;
  readonly aliases: readonly string[];
  readonly replicas: number;
  /** The socket of this host's kvcached; undefined: engines keep their KV to themselves. */
  readonly kvcached: string | undefined;
  readonly origins: readonly string[];
  readonly json: boolean;
}

const replicasMax = 16;

/** `help` when that was asked for. Throws a `UserError` that names the fix. */
export const parseUp = (argv: readonly string[]): UpSettings | 'help' => {
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];
  try {
    values = parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (thrown) {
    throw wrongArguments(thrown, 'up', 'npm start -- --port 8080');
  }
  if (values.help) return 'help';
  const engineUrls = values['engine-url'] ?? [];
  if (engineUrls.length > 0 && (values.model !== undefined || values.replicas !== '1')) {
    throw new UserError('--engine-url attaches to running engines: leave --model and --replicas out.', 2);
  }
  if (engineUrls.length === 0 && values.profile !== undefined) {
    throw new UserError('--profile says what --engine-url is: name that, too.', 2);
  }
  if (engineUrls.length > 0 && values.kvcached !== undefined) {
    const instead = 'cgn agent --kvcached SOCKET --engine-url URL --kv-directory DIR';
    throw new UserError(`--kvcached is for the engines that cgn up starts; for others: ${instead}.`, 2);
  }
  for (const url of [...engineUrls, ...(values.origin ?? [])]) {
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new UserError(`"${url}" must be a URL such as http://127.0.0.1:8000.`, 2);
    }
    const { username, password } = new URL(url);
    if (username !== '' || password !== '') {
      const instead = "Set COGNITORA_ENGINE_API_KEY to an engine's key.";
      throw new UserError(
        `A URL must not hold a user or a password: every process can read it. ${instead}`,
        2,
      );
    }
  }
  const dataDirectory = resolve(values['data-dir'] ?? defaultDataDirectory());
  return {
    port: portOf(values.port),
    dataDirectory,
    model: values.model ?? defaultModel(dataDirectory),
    engineUrls,
    profile: values.profile,
    aliases: values.alias ?? [],
    replicas: wholeNumber(values.replicas, '--replicas', 1, replicasMax),
    kvcached: values.kvcached === undefined ? undefined : resolve(values.kvcached),
    origins: (values.origin ?? []).map((url) => new URL(url).origin),
    json: values.json,
  };
};

/** Resolves with the exit status once everything is stopped. */
const serve = async (settings: UpSettings, unlock: () => void): Promise<number> => {
  const progress = new Progress(settings.json);
  const startedMs = monotonicMs();
  const credentials = loadOrCreateCredentials(settings.dataDirectory);
  const fleet = new Fleet({ settings, credentials, progress });
  const stopped = untilSignal(fleet);
  endAllWhenBroken(fleet, progress, unlock);
  try {
    progress.update('edge', 'starting');
    const edgeUrl = await fleet.startEngines().startEdge();
    const client = new AdminClient(edgeUrl, credentials.adminKey, settings.dataDirectory);
    const issued = await issueTokens(client, credentials).catch((thrown: unknown) => {
      if (!(thrown instanceof UserError)) throw thrown;
      throw new UserError(`${thrown.message}${fleet.edgeLogPointer('may say why.')}`);
    });
    saveCredentials(settings.dataDirectory, issued.credentials);
    await fleet.startAgent(edgeUrl, issued.joinToken);
    const { url, apiKey, adminKey } = issued.credentials;
    await Promise.race([fleet.untilServed(edgeUrl, apiKey), fleet.failed, stopped.asked]);
    if (!stopped.isAsked()) {
      progress.done();
      const seconds = ((monotonicMs() - startedMs) / 1000).toFixed(1);
      const { joinToken } = issued;
      const { served, isToy } = fleet;
      if (settings.json) sayJson({ url, apiKey, adminKey, joinToken, pid: process.pid });
      else if (served !== undefined) {
        const { dataDirectory, port, engineUrls, profile } = settings;
        const isUnnamed = engineUrls.length > 0 && profile === undefined;
        say(upReport({ ...served, url, apiKey, isToy, isUnnamed, dataDirectory, port, seconds }));
      }
    }
    await Promise.race([stopped.asked, fleet.failed]);
    return 0;
  } finally {
    progress.done();
    await fleet.stop();
  }
};

/** A fault of ours must not leave processes behind that nobody minds. */
const endAllWhenBroken = (fleet: Fleet, progress: Progress, unlock: () => void): void => {
  process.once('uncaughtException', (thrown: unknown) => {
    fleet.kill();
    unlock();
    progress.done();
    const told = (thrown instanceof Error ? thrown.stack : undefined) ?? String(thrown);
    warn(`cgn up broke and ended all it started. Start it again; if it goes on, report this:\n${told}`);
    process.exit(1);
  });
};

/** The first signal stops in order; the second at once. */
const untilSignal = (fleet: Fleet): { readonly asked: Promise<void>; isAsked(): boolean } => {
  let isAsked = false;
  const signals = new RepeatedSignals();
  const asked = new Promise<void>((accept) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        const heard = signals.heard(monotonicMs());
        if (heard === 'again') fleet.kill();
        else if (heard === 'first' && signal === 'SIGINT')
          warn('\nStopping; live streams get a few seconds. Ctrl-C again stops at once.');
        isAsked = true;
        accept();
      });
    }
  });
  return { asked, isAsked: () => isAsked };
};

export const up = async (argv: readonly string[]): Promise<number> => {
  const settings = parseUp(argv);
  if (settings === 'help') {
    say(upHelp.trimEnd());
    return 0;
  }
  if (settings.engineUrls.length === 0) checkModelFile(settings.model);
  const unlock = lock(settings.dataDirectory);
  try {
    return await serve(settings, unlock);
  } finally {
    unlock();
  }
};
