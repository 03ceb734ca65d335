/** What a configuration would run, in words: `--check-config`. Shows no secret, only whether there is one. */
import type { EngineConfig } from '../engines/engine-config.ts';
import type { AgentConfig } from './agent-config.ts';
import * as kinds from './kinds.ts';

/** A URL as far as an engine or an edge is asked there: a query may hold anything. */
const placeOf = (url: URL): string => url.origin + (url.pathname === '/' ? '' : url.pathname);

const engineLines = ({ profile, role, kvOffload, source, aliases, apiKey }: EngineConfig): string[] => {
  const lines =
    source.kind === 'attached'
      ? [
          `${profile}, runs at ${placeOf(source.url)}`,
          `KV events ${source.kvEvents?.events ?? 'none: what it holds is inferred'}`,
        ]
      : [
          `${profile}, started with ${source.model}`,
          `GPUs ${source.gpus.length === 0 ? 'as the agent sees them' : source.gpus.join(', ')}`,
          `tensor parallel ${source.tensorParallel}, KV offload ${kvOffload}`,
          ...(source.command === undefined ? [] : [`program ${source.command}`]),
          ...(source.arguments.length === 0 ? [] : [`arguments ${JSON.stringify(source.arguments)}`]),
          ...(source.environment.size === 0
            ? []
            : [`variables ${[...source.environment.keys()].join(', ')}`]),
        ];
  if (role !== 'both') lines.push(`role ${role}: gets no requests`);
  for (const [publicName, served] of aliases) lines.push(`${served} offered as ${publicName}`);
  if (apiKey !== undefined) lines.push('with a key');
  return lines;
};

export const describeConfig = (config: AgentConfig, path: string | undefined): string => {
  const { status, log } = config;
  const rows: (readonly [string, string])[] = [
    ['file', path ?? 'none'],
    ['edge', placeOf(config.edge)],
    ['region', config.region ?? "the edge's first one"],
    ['name', config.name],
    ['data_dir', config.dataDirectory],
    ['join token', config.joinToken === undefined ? 'none here' : 'given'],
    ['log', `${log.format}, ${log.level}`],
    ['status', kinds.listen.show(status ?? 'off')],
    ...config.engines.flatMap((engine) =>
      engineLines(engine).map((line, at) => [at === 0 ? engine.name : '', line] as const),
    ),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `${rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n')}\n`;
};
