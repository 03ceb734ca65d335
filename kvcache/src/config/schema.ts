/**
 * Every key of kvcached's configuration, once. The parser, the help and docs/kvcached-config.md are made from these
 * tables; nothing else lists a key.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as kinds from '@cognitora/protocol/config/kinds';
import { type Keys, key, type Schema, type Section } from '@cognitora/protocol/config/schema';
import { kvDaemonSocketName, peerTransports } from '@cognitora/protocol/kv-daemon';
import { kvPeerAddressesMax } from '@cognitora/protocol/limits';
import { address, advertised, directory, fields, listen, rate } from './kinds.ts';

const gibibyte = 2 ** 30;
const factCharsMax = 256;
/** A daemon's own; more are no configuration that a person keeps. */
const addressesMax = 8;
/** Where peers connect: each of them by all transports. */
const endpointsMax = kvPeerAddressesMax / peerTransports.length;
export const namespacesMax = 16;
const ttlMsMax = 20 * 24 * 3_600_000;

const file = kinds.path('a file', homedir);
const ttl = kinds.duration(ttlMsMax);

export const topKeys = {
  data_dir: key(kinds.path('a directory', homedir))({
    doc:
      'Where the disk keeps values, and the socket of "cgn kv" and the agent lies. One daemon a ' +
      'directory.',
    example: '"/var/lib/cognitora/kvcached"',
    fallback: () => join(homedir(), '.cognitora', 'kvcached'),
    says: '~/.cognitora/kvcached',
    option: ['data-dir', 'DIR'],
  }),
  ram: key(kinds.size({ bytesMin: 64 * 2 ** 20 }))({
    doc:
      'Memory for values, which is never exceeded (but by one page at "64MiB", to take the largest value); ' +
      'the process itself takes some 150 MiB beside it, and what it knows of keys: some 0.4 KiB for each ' +
      'value in memory, an eighth of ram at most, and 0.3 KiB for each on the disk, as much at most, or ' +
      '128 MiB where that is more.',
    example: '"16GiB"',
    fallback: () => gibibyte,
    option: ['ram', 'SIZE'],
  }),
  disk: key(kinds.size({ bytesMin: gibibyte, mayBeNone: true }))({
    doc: 'Disk for values in data_dir, which is never exceeded.',
    example: '"200GiB"',
    fallback: () => 16 * gibibyte,
    option: ['disk', 'SIZE'],
  }),
  listen: key(
    kinds.list(
      address,
      addressesMax,
      'a list of addresses such as "127.0.0.1:6379" and paths of sockets such as "/run/kv.sock"',
    ),
  )({
    doc:
      'Where Redis clients connect, such as LMCache. Beyond loopback a password is needed. An empty list ' +
      'serves none.',
    example: '["127.0.0.1:6379", "/run/cognitora/redis.sock"]',
    fallback: () => [{ host: '127.0.0.1', port: 6379 }],
    option: ['listen', 'LIST'],
  }),
  status: key(kinds.listen)({
    doc: 'Where /healthz and /metrics are served, on loopback. "off" serves nothing.',
    example: '"127.0.0.1:6380"',
    fallback: () => ({ host: '127.0.0.1', port: 6380 }),
    option: ['status', 'ADDRESS'],
  }),
  password_file: key(file)({
    doc: 'A file with the password that Redis clients must give (AUTH).',
    example: '"/etc/cognitora/kv-password"',
    says: 'COGNITORA_KV_PASSWORD, else none is asked for',
    option: ['password-file', 'FILE'],
  }),
  socket: key(kinds.path('a socket', homedir))({
    doc:
      'The Unix socket of "cgn kv" and the agent. Whoever may open it may do all; it is made for this ' +
      'user alone.',
    example: '"/run/cognitora/kvcached.sock"',
    says: `${kvDaemonSocketName} in data_dir`,
    option: ['socket', 'PATH'],
  }),
  identity: key(file)({
    doc: "The file of the node's key, which the agent makes: peers know this host by it.",
    example: '"/var/lib/cognitora/agent/node.key"',
    fallback: () => join(homedir(), '.cognitora', 'agent', 'node.key'),
    says: '~/.cognitora/agent/node.key',
    option: ['identity', 'FILE'],
  }),
  ttl: key(ttl)({
    doc:
      'How long a value stays that is stored without a time of its own, if nothing makes room of it ' +
      'before.',
    example: '"2d"',
    says: 'until its room is needed',
    option: ['ttl', 'TIME'],
  }),
} as const satisfies Keys;

const peersKeys = {
  listen: key(kinds.list(listen, endpointsMax, 'a list of addresses such as "10.0.0.7:6381"'))({
    doc:
      'Where the daemons of other hosts connect: TCP (TLS) and UDP (QUIC) on the same port, both sides ' +
      'known by their keys. Where packets are lost set net.ipv4.tcp_congestion_control=bbr on each host: ' +
      'at 1 % and 2 % of loss it was 19 to 28 times as fast.',
    example: '["0.0.0.0:6381"]',
    fallback: () => [],
    says: 'none: values are not shared with other hosts',
    option: ['peers', 'LIST'],
  }),
  advertise: key(kinds.list(advertised, endpointsMax, 'a list such as "kv7.example:6381"'))({
    doc: 'Where other hosts reach this one, if that is not where it listens: at most four places.',
    example: '["10.0.0.7:6381"]',
    says: "where it listens, or there on the first four of this host's addresses",
    option: ['advertise', 'LIST'],
  }),
  bandwidth_max: key(rate)({
    doc: 'The most that one peer is sent, and sends.',
    example: '"500MiB/s"',
    says: 'as fast as it goes',
    option: ['bandwidth-max', 'RATE'],
  }),
} as const satisfies Keys;

/** What must be equal on two hosts, as it stands in `fields`. */
const fact = kinds.text('a text');
const shortFact = {
  ...fact,
  says: `a text of at most ${factCharsMax} characters`,
  read: (value: unknown) => (String(value).length <= factCharsMax ? fact.read(value) : undefined),
};
const fieldKeys = {
  model: key(shortFact)({
    doc: 'The model, as all hosts call it.',
    example: '"Qwen/Qwen3-8B"',
    isRequired: true,
  }),
  dtype: key(shortFact)({ doc: 'Of the KV cache.', example: '"fp8"', says: 'not told apart' }),
  layout: key(shortFact)({
    doc: 'How the model is split: a rank holds a part of each block.',
    example: '"tp2"',
    says: 'not told apart',
  }),
  block_tokens: key(kinds.wholeNumber(1, 1_048_576))({
    doc: "Tokens of one block, or of LMCache's chunk.",
    example: '256',
    says: 'not told apart',
  }),
  hash_algorithm: key(shortFact)({
    doc: 'By which the engine names blocks; with one that is seeded anew at each start no two hosts share.',
    example: '"sha256_cbor"',
    says: 'not told apart',
  }),
  engine: key(shortFact)({
    doc: 'The engine and its build, where another build lays KV out otherwise.',
    example: '"vllm 0.12.0, lmcache 0.3.9"',
    says: 'not told apart',
  }),
  more: key(
    kinds.table(
      (name, value) => {
        const isFact =
          typeof value === 'number' ? Number.isFinite(value) : shortFact.read(value) !== undefined;
        return isFact && name.length <= factCharsMax ? (value as string | number) : undefined;
      },
      32,
      'a table of at most 32 names, each with a text or a number',
    ),
  )({ doc: 'Other facts that must be equal.', example: '{ seed = 0 }', says: 'none' }),
} as const satisfies Keys;

const fieldsKey = key(fields);

const namespaceKeys = {
  database: key(kinds.wholeNumber(0, 15))({
    doc: 'The Redis database (SELECT) whose keys these are; clients begin in 0.',
    example: '1',
    isRequired: true,
  }),
  fields: fieldsKey({
    doc: 'What its values were computed with. Hosts with equal fields share them.',
    example: '{ model = "Qwen/Qwen3-8B", dtype = "bf16", layout = "tp1", block_tokens = 256 }',
    isRequired: true,
  }),
} as const satisfies Keys;

export const mirrorKeys = {
  directory: key(directory)({
    doc: 'Where the engine offloads to. The service may write there once its ReadWritePaths= names it.',
    example: '"/var/lib/engine/kv"',
    isRequired: true,
  }),
  fields: fieldsKey({
    doc: 'What its files were computed with. Hosts with equal fields share them.',
    example: '{ model = "Qwen/Qwen3-8B", engine = "vllm 0.12.0" }',
    isRequired: true,
  }),
  max_bytes: key(kinds.size({ bytesMin: 64 * 2 ** 20 }))({
    doc: 'Of the directory: what was not used for longest is removed, once kvcached has it.',
    example: '"100GiB"',
    says: "the engine's own bound",
  }),
  replicate: key(kinds.flag)({
    doc:
      "Put the newest files of other hosts' engines there before this host's engine looks for them, within " +
      'half of max_bytes. For engines that name files by their content, such as vLLM and SGLang.',
    example: 'true',
    fallback: () => false,
  }),
} as const satisfies Keys;

const variablePrefix = 'COGNITORA_KV';

export const topSection = { header: '', table: '', keys: topKeys, variablePrefix };
export const peersSection = { header: '[peers]', table: 'peers', keys: peersKeys, variablePrefix };
export const namespaceSection = { header: '[[namespace]]', table: 'namespace', keys: namespaceKeys };
export const mirrorSection = { header: '[[mirror]]', table: 'mirror', keys: mirrorKeys };
export const fieldsSection = { header: 'fields', table: '', keys: fieldKeys };
export const sections: readonly Section[] = [
  topSection,
  peersSection,
  namespaceSection,
  mirrorSection,
  fieldsSection,
];

export const kvcachedSchema: Schema = {
  sections,
  documentation: 'docs/kvcached-config.md',
  secretKey: 'password_file',
};

export const secretVariables = {
  password: [
    'COGNITORA_KV_PASSWORD',
    'The password of Redis clients; goes before every password_file but the option.',
  ],
} as const;

export const configVariable = 'COGNITORA_KV_CONFIG';
export const defaultConfigPath = '/etc/cognitora/kvcached.toml';
