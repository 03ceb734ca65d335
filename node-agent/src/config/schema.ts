/**
 * Every key of the configuration, once: where it may stand, what it may be, its default and what it is for. The parser,
 * the help and docs/agent-config.md are made from these tables; nothing else lists a key.
 */
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import * as kinds from '@cognitora/protocol/config/kinds';
import { textCharsMax } from '@cognitora/protocol/config/limits';
import { type Keys, key, type Schema, type Section } from '@cognitora/protocol/config/schema';
import {
  ackBusyMsMax,
  nameCharsMax,
  replicasPerNodeMax,
  requestMsMax,
  telemetryRefreshMs,
} from '@cognitora/protocol/limits';
import { kvOffloads, roles } from '../engines/engine-config.ts';
import { knownProfiles } from '../engines/known-profiles.ts';
import { timeoutsDefault } from '../engines/timeouts.ts';
import { logFormats, logLevels } from './agent-config.ts';
import { region, replicaName, zeromqEndpoint } from './kinds.ts';
import * as limits from './limits.ts';

const file = kinds.path('a file', homedir);

const handingOver = knownProfiles.handingOver.map(kinds.quoted).join(' and ');

/** At the top of the file, before the first table. */
export const topKeys = {
  edge: key(kinds.httpUrl('https://edge.example', 'A host joins an edge with COGNITORA_JOIN_TOKEN.'))({
    doc: 'The edge to serve. Another URL of it counts as another edge, which the host joins anew.',
    example: '"https://edge.example"',
    isRequired: true,
    option: ['edge', 'URL'],
  }),
  region: key(region)({
    doc: "The edge's region to join.",
    example: '"weur"',
    says: "the edge's first one",
    option: ['region', 'NAME'],
  }),
  name: key(kinds.name)({
    doc: 'This host\'s name as "cgn nodes" shows it.',
    example: '"rack-7"',
    fallback: () => hostname().slice(0, nameCharsMax),
    says: 'the hostname',
    option: ['name', 'NAME'],
  }),
  data_dir: key(kinds.path('a directory', homedir))({
    doc: "Where the host's key, its locks and logs are kept.",
    example: '"/var/lib/cognitora/agent"',
    fallback: () => join(homedir(), '.cognitora', 'agent'),
    says: '~/.cognitora/agent',
    option: ['data-dir', 'DIR'],
  }),
  kv_handover: key(kinds.path('a directory', homedir))({
    doc:
      'A directory that hosts share: what one host computed, others restore. For engines ' +
      `${handingOver} with a kv_directory. ` +
      'The service may write there once its ReadWritePaths= names it.',
    example: '"/mnt/fleet/kv"',
    says: 'each host computes its own',
    option: ['kv-handover', 'DIR'],
  }),
  kvcached: key(kinds.path('a socket', homedir))({
    doc:
      'The socket of this host\'s "cgn kvcached": with it hosts share what it holds, whatever the engine. ' +
      `Engines ${handingOver} with a kv_directory also hand their KV over through it. ` +
      'Not beside kv_handover.',
    example: '"/var/lib/cognitora/kvcached/kvcached.sock"',
    says: 'each host computes its own',
    option: ['kvcached', 'SOCKET'],
  }),
  join_token_file: key(file)({
    doc:
      'A file with the join token, which only the first start needs: once the host has joined, the file ' +
      'may be deleted.',
    example: '"/etc/cognitora/join-token"',
    says: 'COGNITORA_JOIN_TOKEN, else asked for on a terminal',
    option: ['join-token-file', 'FILE'],
  }),
} as const satisfies Keys;

export const logKeys = {
  format: key(kinds.choice(logFormats))({
    doc: 'How log lines look on standard error: "auto" is pretty on a terminal and JSON elsewhere.',
    example: '"json"',
    fallback: () => 'auto',
  }),
  level: key(kinds.choice(logLevels))({
    doc: 'The least level that is written.',
    example: '"warn"',
    fallback: () => 'info',
  }),
} as const satisfies Keys;

export const statusKeys = {
  listen: key(kinds.listen)({
    doc:
      'Where /healthz, /metrics and /status are served. Port 0 lets the operating system choose; the URL ' +
      'is in status.json of data_dir, where "cgn agent status" finds it. "off" serves nothing.',
    example: '"127.0.0.1:9400"',
    fallback: () => ({ host: '127.0.0.1', port: 0 }),
  }),
  allow_remote: key(kinds.flag)({
    doc: 'Lets listen name an address that other hosts reach. Nothing there is encrypted or asks who reads.',
    example: 'true',
    fallback: () => false,
  }),
} as const satisfies Keys;

const variables = kinds.table(
  (_, value) => {
    const file = typeof value === 'object' && value !== null && 'file' in value ? value.file : undefined;
    if (file !== undefined) return typeof file === 'string' && file !== '' ? { file } : undefined;
    return typeof value === 'string' && value.length <= textCharsMax ? value : undefined;
  },
  limits.variablesMax,
  `a table of at most ${limits.variablesMax} variables, each a text or { file = "..." }`,
);

const aliases = kinds.table(
  (publicName, value) => (publicName.length <= nameCharsMax ? kinds.name.read(value) : undefined),
  limits.aliasesMax,
  `a table of at most ${limits.aliasesMax} names, PUBLIC = "SERVED"`,
);

/** Of an entry of `[[engine]]`. */
export const engineKeys = {
  profile: key(kinds.text('the name of an engine'))({
    doc: 'Which engine it is.',
    example: '"openai"',
    isRequired: true,
  }),
  name: key(replicaName)({
    doc: "The replica's name on this host; several replicas are NAME-0, NAME-1 and so on.",
    example: '"qwen"',
    says: 'r0, r1 and so on, in the order of all replicas',
  }),
  url: key(
    kinds.httpUrl('http://127.0.0.1:8000', 'Its key goes into api_key_file or COGNITORA_ENGINE_API_KEY.'),
  )({
    doc:
      'Where an engine answers that runs already: with or without /v1 at its end, or with another path the ' +
      'base of its API, as client libraries take it: "https://api.example/v1beta/openai".',
    example: '"http://127.0.0.1:8000"',
    says: 'the agent starts the engine, and needs model',
  }),
  api_key_file: key(file)({
    doc: "A file with the engine's key, which is sent as a bearer token.",
    example: '"/etc/cognitora/engine-key"',
    says: 'COGNITORA_ENGINE_API_KEY, if that is set',
  }),
  kv_events: key(zeromqEndpoint)({
    doc:
      'Where a running engine publishes events of its KV cache: what it holds is known then, not guessed. ' +
      'The service sees no sockets in /tmp: "ipc:///run/engine/events" is a place for one.',
    example: '"tcp://127.0.0.1:5557"',
    says: 'what it holds is inferred',
  }),
  kv_events_replay: key(zeromqEndpoint)({
    doc: 'Where it answers for events that were missed.',
    example: '"tcp://127.0.0.1:5558"',
    says: 'what was missed counts as lost',
  }),
  kv_events_ranks: key(kinds.wholeNumber(1, limits.eventRanksMax))({
    doc:
      'How many data-parallel ranks a running engine has behind its url, each with events at a port of its ' +
      'own, counted up from these: a prefix counts as held when every rank holds it.',
    example: '2',
    says: 'one',
  }),
  model: key(kinds.text('the path or the name of a model'))({
    doc:
      'The model of an engine to start: a path, or a name that the engine knows how to fetch. Of one that ' +
      'serves whatever it has, only this model is offered.',
    example: '"/models/qwen.gguf"',
    says: 'the engine runs already, at url',
  }),
  tokenizer: key(kinds.text('a directory or the name of a model'))({
    doc:
      "The model's tokenizer and chat template on this host, for an engine that shows no prompts: a " +
      "directory with its files, or its name in the hub's cache. Without it the edge knows less of what " +
      'such an engine holds. Nothing is fetched.',
    example: '"/models/qwen3-8b"',
    says: 'model, if its files are here; of a running engine what it says itself',
  }),
  served_name: key(kinds.name)({
    doc: 'What a started engine shall call its model, if its profile lets it be told.',
    example: '"qwen3-8b"',
    says: 'as the engine likes',
  }),
  command: key(file)({
    doc: 'The program to start.',
    example: '"/opt/engine/bin/serve"',
    says: "the profile's own",
  }),
  arguments: key(
    kinds.list(kinds.text('a text'), limits.argumentsMax, `a list of at most ${limits.argumentsMax} texts`),
  )({
    doc: 'More arguments for it, appended as they are.',
    example: '["--ctx-size", "16384"]',
    fallback: () => [],
  }),
  environment: key(variables)({
    doc:
      'Variables for it. What is secret stands in a file of its own: ' +
      'HF_TOKEN = { file = "/etc/cognitora/hf-token" }.',
    example: '{ OMP_NUM_THREADS = "4" }',
    fallback: () => new Map(),
  }),
  replicas: key(kinds.wholeNumber(1, replicasPerNodeMax))({
    doc: 'How many of it to start.',
    example: '2',
    fallback: () => 1,
  }),
  gpus: key(
    kinds.list(
      kinds.wholeNumber(0, limits.gpusMax - 1),
      limits.gpusMax,
      `a list of at most ${limits.gpusMax} GPU numbers from 0 to ${limits.gpusMax - 1}`,
    ),
  )({
    doc:
      'The GPUs of all its replicas together, as nvidia-smi numbers them; each replica sees its own. Of a ' +
      'running engine, those it runs on: their watts and memory are told with it.',
    example: '[0, 1]',
    fallback: () => [],
    says: '[]: the engine sees what the agent sees',
  }),
  gpus_per_replica: key(kinds.wholeNumber(1, limits.gpusMax))({
    doc: 'How many of gpus each replica gets. All of them: the replicas share them.',
    example: '2',
    says: 'gpus divided by replicas',
  }),
  tensor_parallel: key(kinds.wholeNumber(1, limits.gpusMax))({
    doc: 'Between how many GPUs each replica splits its model.',
    example: '2',
    says: 'all GPUs of the replica',
  }),
  loading_timeout: key(kinds.duration(limits.loadingMsMax))({
    doc:
      'How long a started engine may take until it is ready: fetching its model, loading it, compiling for ' +
      'it. Then it is ended and started again; before that nothing gives up on one whose process lives, ' +
      'however quiet it is.',
    example: '"30m"',
    fallback: () => limits.loadingMsDefault,
  }),
  ack_timeout: key(kinds.duration(ackBusyMsMax))({
    doc:
      'How long it may take until the edge hears that a request is on this host; then the request fails ' +
      'with ack_timeout. While the edge hears anything else of this host but heartbeats, the link is only ' +
      'slow, and the edge waits for the longest time that is possible here. What a host measures of its ' +
      `engines and GPUs it tells at least every ${telemetryRefreshMs / 1_000} s: from there on this time ` +
      'acts only where it says nothing at all.',
    example: '"5s"',
    fallback: () => timeoutsDefault.ackMsMax,
  }),
  connect_timeout: key(kinds.duration(limits.connectMsMax))({
    doc: 'How long it may take to accept a connection; then the request fails with engine_unreachable.',
    example: '"2s"',
    fallback: () => timeoutsDefault.connectMsMax,
  }),
  first_token_timeout: key(kinds.duration(requestMsMax))({
    doc:
      'How long it may take to the first byte of its answer, waiting in its queue and reading the prompt ' +
      'included; then the request fails with first_token_timeout. Where an engine tells that more of the ' +
      'prompt is read, it has this long anew. Comments in a stream do not count.',
    example: '"90s"',
    fallback: () => timeoutsDefault.firstTokenMsMax,
  }),
  inter_token_timeout: key(kinds.duration(requestMsMax))({
    doc:
      'How long it may be silent within an answer that is read, comments aside; then the request fails ' +
      'with inter_token_timeout. One that is started is not taken to hang before this.',
    example: '"30s"',
    fallback: () => timeoutsDefault.interTokenMsMax,
  }),
  total_timeout: key(kinds.duration(requestMsMax))({
    doc: 'How long a request may take in all; then it fails with total_timeout. A client may ask for less.',
    example: '"10m"',
    fallback: () => timeoutsDefault.totalMsMax,
  }),
  kv_offload: key(kinds.choice(kvOffloads))({
    doc:
      'Where a started engine keeps KV that its own memory cannot hold; "hicache" is its own hierarchy of ' +
      'memories, whatever it calls it. Not every profile has each.',
    example: '"lmcache"',
    fallback: () => 'none',
  }),
  kv_directory: key(kinds.path('a directory', homedir))({
    doc:
      'Where a started engine keeps KV that it moves or offloads, if with its kv_offload it keeps any ' +
      'there (lmcache and kvbm 64 GB, unless their own variables say else); where a running one saves ' +
      'slots, as a path of this host. Outside of /var/lib/cognitora the service may write there once its ' +
      'ReadWritePaths= names it.',
    example: '"/var/lib/cognitora/kv"',
    says: 'nowhere',
  }),
  role: key(kinds.choice(roles))({
    doc: 'Only "both" gets requests until prefill and decode are split.',
    example: '"both"',
    fallback: () => 'both',
  }),
  aliases: key(aliases)({
    doc: 'Names under which clients find the engine\'s models: PUBLIC = "SERVED".',
    example: '{ "gpt-4o" = "qwen3-8b" }',
    fallback: () => new Map(),
  }),
} as const satisfies Keys;

const variablePrefix = 'COGNITORA';

export const topSection = { header: '', table: '', keys: topKeys, variablePrefix };
export const logSection = { header: '[log]', table: 'log', keys: logKeys, variablePrefix };
export const statusSection = { header: '[status]', table: 'status', keys: statusKeys, variablePrefix };
export const engineSection = { header: '[[engine]]', table: 'engine', keys: engineKeys };
export const sections: readonly Section[] = [topSection, logSection, statusSection, engineSection];

export const agentSchema: Schema = {
  sections,
  documentation: 'docs/agent-config.md',
  secretKey: 'join_token_file',
};

/** Secrets stand in variables or in files, never in the configuration itself. */
export const secretVariables = {
  joinToken: ['COGNITORA_JOIN_TOKEN', 'The join token; goes before every join_token_file but the option.'],
  engineApiKey: [
    'COGNITORA_ENGINE_API_KEY',
    'Sent as a bearer token to each engine without an api_key_file.',
  ],
} as const;

export const configVariable = 'COGNITORA_CONFIG';
export const defaultConfigPath = '/etc/cognitora/agent.toml';
