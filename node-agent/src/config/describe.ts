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

const engineLines = (engine: EngineConfig, command: readonly string[]): string[] => {
  const { profile, role, kvOffload, source, aliases, apiKey, tokenizer } = engine;
  const [first, ...more] =
    source.kind === 'attached' ? attachedLines(source) : launchedLines(source, command);
  const lines = [`${profile}, ${first}`, ...more];
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
  { command }: Pick<KnownProfiles, 'command'>,
): string => {
  const { status, log, dataDirectory } = config;
  const rows: (readonly [string, string])[] = [
    ['file', path ?? 'none'],
    ['edge', placeOf(config.edge)],
    ['region', config.region ?? "the edge's first one"],
    ['name', config.name],
    ['data_dir', dataDirectory],
    ['join token', joinTokenWords(config)],
    ['log', `${log.format}, ${log.level}`],
    ['status', kinds.listen.show(status ?? 'off')],
    ...config.engines.flatMap((engine) =>
      engineLines(engine, command(engine, replicaDirectory(dataDirectory, engine.name))).map(
        (line, at) => [at === 0 ? engine.name : '', line] as const,
      ),
    ),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n')}\n`;
};
