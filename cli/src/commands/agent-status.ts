/** `cgn agent status`: what the agent of this host does now, as it tells on loopback. Changes nothing. */
import fs from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { MoveFigures, ReplicaStatus, StatusAnswer, StatusFile } from '@cognitora/protocol/agent-status';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { ConfigFile } from '@cognitora/protocol/config/config-file';
import { withHome } from '@cognitora/protocol/config/kinds';
import { printable } from '@cognitora/protocol/printable';
import * as toml from 'smol-toml';
import { askAgent, statusFileIn } from '../agent-client.ts';
import { wallMs } from '../clock.ts';
import { gpuCells, gpuHeader, loadCells, loadHeader } from '../figures.ts';
import { byteSize, redraw, relativeTime, say, sayJson, table, UserError, warn } from '../terminal.ts';
import { wrongArguments } from '../wrong-arguments.ts';

/** Where an agent lives unless it is told otherwise, and where the service of docs/cognitora-agent.service does. */
const usualDirectories = (): readonly string[] => [
  join(homedir(), '.cognitora', 'agent'),
  '/var/lib/cognitora/agent',
];

const watchMs = 1_000;

export const agentStatusHelp = `cgn agent status: what the agent of this host does now

Usage
  cgn agent status [--data-dir DIR | --config FILE] [--watch] [--json]

Options
  --data-dir DIR   the agent's data directory, which says where it answers
                   (default: COGNITORA_DATA_DIR, else ${usualDirectories()
                     .join(' or ')
                     .replaceAll(homedir(), '~')})
  --config FILE    the agent's file, whose data_dir that is where neither of these two is given
  --watch          look again every second
  --json           as JSON: one line each time
`;

const options = {
  'data-dir': { type: 'string' },
  config: { type: 'string' },
  watch: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** Where an agent of that file lives: it is read for nothing else. */
const dataDirectoryIn = (path: string): string | undefined => {
  try {
    const file = ConfigFile.read(path, { disk: fs, toml });
    const { data_dir: directory } = file.table;
    if (directory === undefined) return usualDirectories()[0];
    if (typeof directory === 'string' && directory !== '') return withHome(directory, homedir);
    throw new ConfigError(`${file.at(['data_dir'])}: data_dir must be the path of a directory.`);
  } catch (thrown) {
    throw thrown instanceof ConfigError ? new UserError(thrown.message, 2) : thrown;
  }
};

const findAgent = (named: string | undefined): StatusFile => {
  const directories = named === undefined ? usualDirectories() : [named];
  for (const directory of directories) {
    const found = statusFileIn(directory);
    if (found !== undefined) return found;
  }
  throw new UserError(
    `No agent that runs has left word in ${directories.join(' or ')}. Name its --data-dir or --config; ` +
      'an agent with status.listen = "off" tells nothing.',
  );
};

const countOf = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');

const trustOf = ({ caches }: ReplicaStatus): string =>
  [...new Set(caches.map(({ trust }) => trust))].join(',') || '-';

const rowOf = (replica: ReplicaStatus): (string | number)[] => [
  replica.name,
  replica.profile,
  replica.state,
  replica.live,
  ...loadCells(replica.load, replica.load?.kvUsage),
  replica.requests,
  countOf(replica.errors) || '-',
  byteSize(replica.bodyBytes),
  trustOf(replica),
  replica.models.join(',') || '-',
];

const header = [
  ...['REPLICA', 'PROFILE', 'STATE', 'LIVE', ...loadHeader, 'REQUESTS', 'FAILED', 'SENT', 'CACHE', 'MODELS'],
];

const movesOf = ({ name, moves }: ReplicaStatus): string[] => {
  if (moves === undefined) return [];
  const { canMove, saved, restored, refused } = moves;
  const shown = ({ count, bytes, ms }: MoveFigures, what: string): string =>
    count === 0 ? `${count} ${what}` : `${count} ${what} (${byteSize(bytes)} in ${ms} ms)`;
  const not = countOf(refused);
  const facts = [shown(saved, 'saved'), shown(restored, 'restored'), ...(not === '' ? [] : [`not: ${not}`])];
  return [`${name}: KV ${canMove ? 'moves' : 'does not move now'}, ${facts.join(', ')}`];
};

const kvcachedOf = ({ kvcached }: StatusAnswer): string[] => {
  if (kvcached === undefined) return [];
  const { isJoined, hosts, why } = kvcached;
  if (!isJoined) return [`kvcached: has not joined: ${why ?? 'nobody knows why'}`];
  return [`kvcached: joined, reaches ${hosts} ${hosts === 1 ? 'other host' : 'other hosts'}`];
};

/** What there is to say of answers that outlived their link. */
const keptFacts = ({ detached, resumed, unclaimed }: StatusAnswer['kept']): string[] =>
  Object.entries({ 'without a link': detached, resumed, unclaimed })
    .filter(([, count]) => count > 0)
    .map(([what, count]) => `${count} ${what}`);

/** For a person. */
export const statusText = (status: StatusAnswer, nowMs: number): string => {
  const { name, agent, link, live, kept, replicas, gpus, process } = status;
  const redials = `${link.redials} ${link.redials === 1 ? 'redial' : 'redials'}`;
  const epoch = link.epoch === undefined ? undefined : `epoch ${link.epoch}`;
  const facts = [link.region, epoch, relativeTime(link.sinceMs, nowMs), redials, link.why];
  const dropped = process.logLinesDropped === 0 ? '' : `, ${process.logLinesDropped} log lines lost`;
  const head = [
    `${name}  ${agent}, pid ${process.pid}, ${byteSize(process.residentBytes)}${dropped}`,
    `link  ${link.state} to ${link.edge} (${facts.filter((fact) => fact !== undefined).join(', ')})`,
    `live  ${[live, ...keptFacts(kept)].join(', ')}`,
    '',
  ];
  const troubles = replicas.flatMap((replica) =>
    replica.why === undefined ? [] : [`${replica.name}: ${replica.why}`],
  );
  const moves = [...replicas.flatMap(movesOf), ...kvcachedOf(status)];
  const rows = table(header, replicas.map(rowOf));
  const gpuRows = gpus.length === 0 ? [] : ['', table(gpuHeader, gpus.map(gpuCells))];
  return [...head.map(printable), rows, ...[...troubles, ...moves].map(printable), ...gpuRows].join('\n');
};

const pause = (ms: number): Promise<void> => new Promise((accept) => setTimeout(accept, ms));

/** For ever: an agent that is gone may come back. */
const watch = async (look: () => Promise<StatusAnswer>, json: boolean): Promise<never> => {
  for (;;) {
    try {
      const status = await look();
      if (json) sayJson(status);
      else redraw(statusText(status, wallMs()));
    } catch (thrown) {
      if (!(thrown instanceof UserError)) throw thrown;
      if (json) warn(thrown.message);
      else redraw(thrown.message);
    }
    await pause(watchMs);
  }
};

export const agentStatus = async (argv: readonly string[]): Promise<number> => {
  let values: ReturnType<typeof parseArgs<{ options: typeof options }>>['values'];
  try {
    values = parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values;
  } catch (thrown) {
    throw wrongArguments(thrown, 'agent status', 'npm run cgn -- agent status --watch');
  }
  if (values.help) {
    say(agentStatusHelp.trimEnd());
    return 0;
  }
  const { json, config } = values;
  // As the agent has it: options before the environment, that before the file.
  const given = values['data-dir'] ?? (process.env.COGNITORA_DATA_DIR || undefined);
  const named = given ?? (config === undefined ? undefined : dataDirectoryIn(config));
  const look = async (): Promise<StatusAnswer> => askAgent(findAgent(named));
  if (values.watch) await watch(look, json);
  const status = await look();
  if (json) sayJson(status);
  else say(statusText(status, wallMs()));
  return 0;
};
