/**
 * The agent's configuration: argv and environment, parsed once into a readonly value. A wrong one names the fix.
 * Secrets come from the environment or a file, never from argv.
 */
import { readFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseRegion, type ReplicaName } from '@cognitora/protocol/ids';
import { nameCharsMax, replicasPerNodeMax } from '@cognitora/protocol/limits';
import type { EngineConfig, KvEventEndpoints } from '../engines/engine-config.ts';
import { type AgentConfig, ConfigError, type ParentPipe } from './agent-config.ts';

/** By the value of COGNITORA_PARENT_PIPE. A parent that leaves us the terminal, to ask for a token, uses another. */
const parentPipes = new Map<string | undefined, ParentPipe>([
  ['1', 'stdin'],
  ['3', 'descriptor 3'],
]);

export const agentHelp = `cgn agent: connect this host's engines to an edge

  The agent dials out to the edge and keeps one link open; nothing on this host listens to the network.
  On its first start it joins with a token ("cgn keys join" makes one), afterwards with the key it made here.

Usage
  cgn agent --edge https://edge.example --engine-url http://127.0.0.1:8000

Options
  --edge URL              the edge to serve (required)
  --engine-url URL        an OpenAI-compatible engine; repeat for several (required)
  --kv-events ENDPOINT    where the engine publishes events of its KV cache, such as tcp://127.0.0.1:5557:
                          what it holds is known then, not guessed; repeat in the order of the engines
  --kv-events-replay ENDPOINT
                          where it answers for events that were missed; repeat likewise
  --region NAME           the edge's region to join; the edge's first one if absent
  --alias PUBLIC=SERVED   offer the engine's model SERVED under the name PUBLIC; repeatable
  --name NAME             this host's name as "cgn nodes" shows it (default: its hostname)
  --data-dir DIR          where the host's key is kept (default: ~/.cognitora/agent)
  --join-token-file FILE  read the join token from FILE
  --help                  this text

Environment
  COGNITORA_JOIN_TOKEN      the join token, when there is no file; asked for on a terminal if both are absent
  COGNITORA_ENGINE_API_KEY  sent to the engines as a bearer token
`;

const options = {
  edge: { type: 'string' },
  'engine-url': { type: 'string', multiple: true },
  'kv-events': { type: 'string', multiple: true },
  'kv-events-replay': { type: 'string', multiple: true },
  region: { type: 'string' },
  alias: { type: 'string', multiple: true },
  name: { type: 'string' },
  'data-dir': { type: 'string' },
  'join-token-file': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** `instead` says where a secret goes that somebody wrote into the URL; the URL is not repeated then. */
const httpUrl = (text: string, option: string, instead: string): URL => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && (url.username !== '' || url.password !== '')) {
    throw new ConfigError(
      `${option} must not hold a user or a password, which every process here can read. ${instead}`,
    );
  }
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new ConfigError(`${option} must be a URL such as http://127.0.0.1:8000, not "${text}".`);
  }
  return url;
};

const endpointPattern = /^(?:tcp:\/\/[^\s/*]+:\d{1,5}|ipc:\/\/\S+)$/;

const kvEventEndpoints = (
  events: readonly string[],
  replays: readonly string[],
  engines: number,
): readonly KvEventEndpoints[] => {
  if (events.length > engines || replays.length > events.length) {
    throw new ConfigError(
      '--kv-events is at most one for each --engine-url, and --kv-events-replay for each of them.',
    );
  }
  const wrong = [...events, ...replays].find((endpoint) => !endpointPattern.test(endpoint));
  if (wrong !== undefined) {
    throw new ConfigError(`--kv-events must be an endpoint such as tcp://127.0.0.1:5557, not "${wrong}".`);
  }
  return events.map((endpoint, at) => ({ events: endpoint, replay: replays[at] }));
};

/** `PUBLIC=SERVED` pairs as a map. */
export const parseAliases = (pairs: readonly string[]): ReadonlyMap<string, string> => {
  const aliases = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const publicName = pair.slice(0, at);
    const served = pair.slice(at + 1);
    if (at < 1 || served === '' || publicName.length > nameCharsMax || served.length > nameCharsMax) {
      throw new ConfigError(
        `--alias must be PUBLIC=SERVED, each of at most ${nameCharsMax} characters, not "${pair}".`,
      );
    }
    aliases.set(publicName, served);
  }
  return aliases;
};

const readToken = (file: string | undefined, environment: string | undefined): string | undefined => {
  // An empty variable is how scripts say that there is none.
  if (file === undefined) return environment?.trim() || undefined;
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch {
    throw new ConfigError(`The join token's file ${file} cannot be read.`);
  }
  if (token === '') throw new ConfigError(`The join token's file ${file} is empty.`);
  return token;
};

const parseOptions = (argv: readonly string[]) => {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (thrown) {
    const [told = ''] = (thrown instanceof Error ? thrown.message : String(thrown)).split('. ');
    const isPositional =
      thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL';
    // npm keeps options before a "--" and hands on their values alone.
    const hint = isPositional ? ' Options go after "--": npm run cgn -- agent --edge URL.' : '';
    throw new ConfigError(`${told}.${hint} See "cgn agent --help".`);
  }
};

/** `help` when that was asked for. Throws `ConfigError`. */
export const parseConfig = (
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
): AgentConfig | 'help' => {
  const values = parseOptions(argv);
  if (values.help) return 'help';
  if (values.edge === undefined) throw new ConfigError('Name the edge: --edge https://edge.example');
  const engines = values['engine-url'] ?? [];
  if (engines.length === 0) throw new ConfigError('Name an engine: --engine-url http://127.0.0.1:8000');
  if (engines.length > replicasPerNodeMax)
    throw new ConfigError(`At most ${replicasPerNodeMax} engines per host.`);
  const region = values.region === undefined ? undefined : parseRegion(values.region);
  if (values.region !== undefined && region === undefined) {
    throw new ConfigError(`--region must be a lower-case name such as weur, not "${values.region}".`);
  }
  if (values.name === '') throw new ConfigError('--name must not be empty: leave it out for the hostname.');
  const aliases = parseAliases(values.alias ?? []);
  const kvEvents = kvEventEndpoints(
    values['kv-events'] ?? [],
    values['kv-events-replay'] ?? [],
    engines.length,
  );
  return {
    edge: httpUrl(values.edge, '--edge', 'A host joins an edge with COGNITORA_JOIN_TOKEN.'),
    region,
    name: (values.name ?? hostname()).slice(0, nameCharsMax),
    dataDirectory: values['data-dir'] ?? join(homedir(), '.cognitora', 'agent'),
    engines: engines.map(
      (text, at): EngineConfig => ({
        name: `r${at}` as ReplicaName,
        profile: 'openai',
        role: 'both',
        kvOffload: 'none',
        source: {
          kind: 'attached',
          url: httpUrl(text, '--engine-url', "Set COGNITORA_ENGINE_API_KEY to the engine's key."),
          kvEvents: kvEvents[at],
        },
        aliases,
        apiKey: environment.COGNITORA_ENGINE_API_KEY || undefined,
      }),
    ),
    joinToken: readToken(values['join-token-file'], environment.COGNITORA_JOIN_TOKEN),
    parentPipe: parentPipes.get(environment.COGNITORA_PARENT_PIPE),
  };
};
