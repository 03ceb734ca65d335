/** What a configuration would run, in words: `--check-config`. Shows no secret, only whether there is one. */

import * as kinds from '@cognitora/protocol/config/kinds';
import type { AttachedEngine, EngineConfig, LaunchedEngine } from '../engines/engine-config.ts';
import type { KnownProfiles } from '../engines/known-profiles.ts';
import { replicaDirectory } from '../engines/source.ts';
import type { AgentConfig } from './agent-config.ts';
import type { ParsedConfig } from './parse.ts';

/** A URL as far as an engine or an edge is asked there: a query may hold anything. */
const placeOf = (url: URL): string => url.origin + (url.pathname === '/' ? '' : url.pathname);

const attachedLines = ({ url, kvEvents, gpus }: AttachedEngine): string[] => [
  `runs at ${placeOf(url)}`,
  `KV events ${kvEvents?.events ?? 'none: what it holds is inferred'}`,
  ...(gpus.length === 0 ? [] : [`GPUs ${gpus.join(', ')}`]),
];

const launchedLines = (source: LaunchedEngine, command: readonly string[]): string[] => [
  `started with ${source.model}`,
  `GPUs ${source.gpus.length === 0 ? 'as the agent sees them' : source.gpus.join(', ')}`,
  `runs (its ports are chosen then) ${command.map((word) => JSON.stringify(word)).join(' ')}`,
  ...(source.environment.size === 0 ? [] : [`with ${[...source.environment.keys()].join(', ')}`]),
];

/** What kv_directory is good for, and where it is missing. */
const kvDirectoryLines = (
  { profile, source }: EngineConfig,
  { handsOver, isShared }: { readonly handsOver: boolean; readonly isShared: boolean },
): string[] => {
  const { kind, kvDirectory } = source;
  if (kvDirectory === undefined) {
    return handsOver && isShared ? ['no kv_directory: its KV is not handed over to other hosts'] : [];
  }
  if (handsOver || kind === 'launched') return [`kv_directory ${kvDirectory}`];
  return [`kv_directory ${kvDirectory} does nothing: a running ${profile} has its own settings for KV`];
};

type Profiles = Pick<KnownProfiles, 'command' | 'handingOver'>;

const engineLines = (engine: EngineConfig, config: AgentConfig, profiles: Profiles): string[] => {
  const { profile, role, kvOffload, source, aliases, apiKey, tokenizer } = engine;
  const { kvcached, kvHandover, dataDirectory } = config;
  const command = profiles.command(engine, replicaDirectory(dataDirectory, engine.name));
  const [first, ...more] =
    source.kind === 'attached' ? attachedLines(source) : launchedLines(source, command);
  const isShared = (kvcached ?? kvHandover) !== undefined;
  const kv = kvDirectoryLines(engine, { handsOver: profiles.handingOver.includes(profile), isShared });
  const lines = [`${profile}, ${first}`, ...more, ...kv];
  if (kvOffload !== 'none') lines.push(`KV offload ${kvOffload}`);
  if (role !== 'both') lines.push(`role ${role}: gets no requests`);
  if (tokenizer !== undefined) lines.push(`tokenizer ${tokenizer}`);
  for (const [publicName, served] of aliases) lines.push(`${served} offered as ${publicName}`);
  if (apiKey !== undefined) lines.push('with a key');
  return lines;
};

export const notNeededTwice = 'not there; needed only for the first start';

const joinTokenWords = ({ joinToken, joinTokenMissing }: AgentConfig): string => {
  if (joinTokenMissing !== undefined) return `${joinTokenMissing} is ${notNeededTwice}`;
  return joinToken === undefined ? 'none here' : 'given';
};

export const describeConfig = (
  { config, path }: Pick<ParsedConfig, 'config' | 'path'>,
  profiles: Profiles,
): string => {
  const { status, log, dataDirectory, kvcached, kvHandover } = config;
  const rows: (readonly [string, string])[] = [
    ['file', path ?? 'none'],
    ['edge', placeOf(config.edge)],
    ['region', config.region ?? "the edge's first one"],
    ['name', config.name],
    ['data_dir', dataDirectory],
    ['join token', joinTokenWords(config)],
    ...(kvcached === undefined ? [] : [['kvcached', kvcached] as const]),
    ...(kvHandover === undefined ? [] : [['kv_handover', kvHandover] as const]),
    ['log', `${log.format}, ${log.level}`],
    ['status', kinds.listen.show(status ?? 'off')],
    ...config.engines.flatMap((engine) =>
      engineLines(engine, config, profiles).map((line, at) => [at === 0 ? engine.name : '', line] as const),
    ),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n')}\n`;
};
