/**
 * The command line: one parser that returns a readonly `Settings`, or a sentence that says what to do.
 * It never touches disk or network; what a model name means is decided in `models/resolve.ts`.
 */
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import * as limits from './limits.ts';

export interface Settings {
  readonly model: string;
  readonly host: string;
  readonly port: number;
  readonly servedName: string | undefined;
  readonly sequences: number;
  readonly contextTokens: number;
  readonly threads: number | undefined;
  readonly modelsDir: string;
  readonly kvEvents: string | undefined;
  readonly kvEventsReplay: string | undefined;
  readonly blockTokens: number;
  /** Where the state of sequences is saved and restored from; undefined: nowhere, and both are refused. */
  readonly slotSavePath: string | undefined;
  readonly progressJson: boolean;
}

export type ParsedArguments =
  | { readonly kind: 'run'; readonly settings: Settings }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly message: string };

export const help = `A small OpenAI-compatible inference server (llama.cpp inside, CPU or GPU).

  node embedded-engine/src/main.ts --model MODEL [options]

MODEL is one of
  tiny                      a toy that is generated on the spot (3 MB, random weights): it emits nonsense,
                            needs no download and starts in about a second; for trying things out
  path/to/model.gguf        a GGUF file on this machine
  hf:owner/repo/file.gguf   a file of the Hugging Face hub, downloaded once and verified
                            (HF_ENDPOINT names another hub, HF_TOKEN opens gated repositories)

Options
  --port 8080               port to listen on; 0, the default, takes a free one
  --host 127.0.0.1          address to listen on
  --served-name NAME        the "model" that clients ask for; default: the file's name, or "tiny"
  --sequences 4             requests that run at the same time; each has its own context
  --context 4096            tokens per sequence, prompt and answer together
  --threads N               CPU threads; default: 1 for models below 100 MB, else all cores
  --models-dir DIR          where tiny and downloads are kept (default ~/.cache/cognitora/models)
  --kv-events ENDPOINT      publish KV-cache events like vLLM's, for example tcp://127.0.0.1:5557
  --kv-events-replay ENDPOINT   answer requests for missed events, for example tcp://127.0.0.1:5558
  --block-size 16           tokens per KV block in those events
  --slot-save-path DIR      let POST /slots/ID?action=save and restore keep the KV of a sequence there
  --progress-json           progress on stderr as one JSON object per line
  --help                    this text

When it serves, one line on stdout says so:
  {"event":"listening","url":"http://127.0.0.1:PORT","model":"NAME","toy":true}
With COGNITORA_PARENT_PIPE=1 in the environment it ends when its stdin does.

Try it
  node embedded-engine/src/main.ts --model tiny --port 8080
  curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model":"tiny","messages":[{"role":"user","content":"Hello"}]}'
`;

const options = {
  model: { type: 'string' },
  host: { type: 'string', default: '127.0.0.1' },
  port: { type: 'string', default: '0' },
  'served-name': { type: 'string' },
  sequences: { type: 'string', default: '4' },
  context: { type: 'string', default: '4096' },
  threads: { type: 'string' },
  'models-dir': { type: 'string' },
  'kv-events': { type: 'string' },
  'kv-events-replay': { type: 'string' },
  'block-size': { type: 'string', default: '16' },
  'slot-save-path': { type: 'string' },
  'progress-json': { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

class WrongArgument extends Error {}

function integer(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new WrongArgument(`--${flag} takes a whole number from ${min} to ${max}, not "${text}".`);
}

function endpoint(flag: string, text: string | undefined): string | undefined {
  if (text === undefined || /^(?:tcp:\/\/\S+|ipc:\/\/\S.*)$/.test(text)) return text;
  throw new WrongArgument(`--${flag} takes a ZeroMQ endpoint such as tcp://127.0.0.1:5557, not "${text}".`);
}

export function defaultModelsDir(env: NodeJS.ProcessEnv): string {
  const cache = env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  return path.join(cache, 'cognitora', 'models');
}

/** Parses what follows the program's name on the command line. */
export function parseArguments(argv: readonly string[], env: NodeJS.ProcessEnv): ParsedArguments {
  try {
    const { values } = parseArgs({ args: [...argv], options, strict: true, allowPositionals: false });
    if (values.help) return { kind: 'help' };
    if (!values.model) throw new WrongArgument('--model is missing. Try --model tiny, or --help.');
    const kvEvents = endpoint('kv-events', values['kv-events']);
    const kvEventsReplay = endpoint('kv-events-replay', values['kv-events-replay']);
    if (kvEventsReplay !== undefined && kvEvents === undefined) {
      throw new WrongArgument('--kv-events-replay replays what --kv-events publishes: give both.');
    }
    const settings: Settings = {
      model: values.model,
      host: values.host,
      port: integer('port', values.port, 0, 65_535),
      servedName: values['served-name'] || undefined,
      sequences: integer('sequences', values.sequences, 1, limits.sequencesMax),
      contextTokens: integer('context', values.context, limits.contextTokensMin, limits.contextTokensMax),
      threads:
        values.threads === undefined ? undefined : integer('threads', values.threads, 1, limits.threadsMax),
      modelsDir: path.resolve(values['models-dir'] || defaultModelsDir(env)),
      kvEvents,
      kvEventsReplay,
      blockTokens: integer('block-size', values['block-size'], limits.blockTokensMin, limits.blockTokensMax),
      slotSavePath: values['slot-save-path'] ? path.resolve(values['slot-save-path']) : undefined,
      progressJson: values['progress-json'],
    };
    return { kind: 'run', settings };
  } catch (error) {
    if (error instanceof WrongArgument) return { kind: 'wrong', message: error.message };
    // parseArgs words its own complaints well ("Unknown option '--modle'"): keep the first sentence.
    const text = error instanceof Error ? error.message : String(error);
    return { kind: 'wrong', message: `${text.split('. ')[0]}. See --help for the options.` };
  }
}
