/**
 * What `bench:sim` was asked for: the one parser of its command line. Lists are separated by commas. Every complaint is
 * a UsageError that says what to write instead. Reads no file but directories' names.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '@cognitora/protocol/errors';
import { replicasPerCellMax } from '../../edge/src/directory/replica-slots.ts';
import type { Policy } from '../../edge/src/policy/policy.ts';
import { simulatedPolicies } from './policies.ts';

export class UsageError extends Error {}

/** A number, or a load that depends on the trace. */
export type Load = number | 'usual' | 'past';

export interface SimOptions {
  readonly traceFiles: readonly string[];
  readonly nodes: readonly number[];
  readonly cells: readonly number[];
  readonly seeds: readonly number[];
  readonly loads: readonly Load[];
  readonly policies: readonly Policy[];
  readonly capacityBlocks: number;
  readonly eventDelayMs: number;
  readonly digestTokens: number;
  /** Results are named `sim`, or `sim-` and this. */
  readonly label: string | undefined;
  readonly json: boolean;
  readonly save: boolean;
}

export const tracesVariable = 'COGNITORA_TRACES';
/** 256 bytes of text. */
const edgeDigestTokens = 64;
const fixtures = join(import.meta.dirname, 'fixtures');
const isTraceName = (name: string): boolean => /\.(?:jsonl(?:\.gz)?|packed\.txt)$/.test(name);

const flags = {
  trace: { type: 'string', multiple: true },
  traces: { type: 'string' },
  nodes: { type: 'string', default: '16' },
  cells: { type: 'string', default: '1' },
  'capacity-blocks': { type: 'string', default: '8192' },
  policy: { type: 'string' },
  load: { type: 'string', default: 'usual' },
  seed: { type: 'string', default: '1' },
  'event-delay-ms': { type: 'string', default: '100' },
  'digest-tokens': { type: 'string' },
  label: { type: 'string' },
  json: { type: 'boolean', default: false },
  save: { type: 'boolean', default: false },
} as const;

const names = simulatedPolicies.map(({ name }) => name).join(', ');

export const usage = `npm run bench:sim -- [--trace FILE ... | --traces DIR] [--nodes 16] [--cells 1]
    [--capacity-blocks 8192] [--policy NAME] [--load usual | past | 0.8] [--seed 1] [--event-delay-ms 100]
    [--digest-tokens 64] [--json] [--save [--label WORD]]
  --trace   a JSONL file, plain or .gz; without it every trace in DIR, or in $${tracesVariable}, or those
            that come with the program
  --load    1: prefill without any cache hit keeps every node busy; usual: 0.8, or 1.5 where most of each
            prompt is a repeat; past: past saturation, 1.4 / (1 - ceiling)
  --policy  ${names}; without it all of them
  --digest-tokens  tokens that one digest stands for: 64, as at the edge
  --nodes, --cells, --policy, --load and --seed take lists: 4,16,64

  of ceiling  hit ratio as a share of what one cache without end would reach
  balance cv  standard deviation over mean of the prompt tokens that nodes computed: 0 is even
  J           simulated: what the modelled engines of all nodes draw, idle ones too, until the last request is
              done (watts in bench/sim/constants.ts); nothing is measured
  tokens/J    prompt and output tokens for each of these joules`;

const itemsOf = (text: string): readonly string[] =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

const listOf = <T>(flag: string, text: string, parse: (item: string) => T): readonly T[] => {
  const list = itemsOf(text).map(parse);
  if (list.length === 0) throw new UsageError(`--${flag} needs a value: see --help`);
  return list;
};

const wholeNumber =
  (flag: string, least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new UsageError(`--${flag} takes whole numbers from ${least} on, not ${JSON.stringify(text)}`);
  };

const parseLoad = (text: string): Load => {
  if (text === 'usual' || text === 'past') return text;
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new UsageError(
    `--load takes a number above 0, "usual" or "past" (1.4 / (1 - ceiling)), not ${JSON.stringify(text)}`,
  );
};

const parsePolicy = (name: string): Policy => {
  const policy = simulatedPolicies.find((known) => known.name === name);
  if (policy !== undefined) return policy;
  throw new UsageError(`--policy ${JSON.stringify(name)} is not known: choose from ${names}`);
};

const tracesIn = (directory: string, toldBy: string): readonly string[] => {
  if (!existsSync(directory) || !statSync(directory).isDirectory()) {
    throw new UsageError(
      `${toldBy}: there is no directory ${directory}. Name one that holds .jsonl or .jsonl.gz`,
    );
  }
  const names = readdirSync(directory).filter(isTraceName).sort();
  if (names.length === 0) throw new UsageError(`${toldBy}: ${directory} holds no .jsonl or .jsonl.gz file`);
  return names.map((name) => join(directory, name));
};

const traceFilesOf = (
  files: readonly string[] | undefined,
  directory: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): readonly string[] => {
  for (const file of files ?? []) {
    if (existsSync(file)) continue;
    const wanted = 'Give the path of a .jsonl or .jsonl.gz file';
    throw new UsageError(`--trace: there is no file ${file}. ${wanted}`);
  }
  if (files !== undefined) return files;
  if (directory !== undefined) return tracesIn(directory, '--traces');
  const told = environment[tracesVariable];
  return told ? tracesIn(told, tracesVariable) : tracesIn(fixtures, '--traces');
};

/** More replicas than a map's planes have bits make cells of their own, which nobody asked for. */
const checkCells = (nodes: readonly number[], cells: readonly number[]): void => {
  for (const count of nodes) {
    for (const parts of cells) {
      if (parts > count) throw new UsageError(`--cells ${parts} is more than --nodes ${count}`);
      if (Math.ceil(count / parts) <= replicasPerCellMax) continue;
      const needed = Math.ceil(count / replicasPerCellMax);
      const fix = `--nodes ${count} needs --cells ${needed} or more`;
      throw new UsageError(`a cell holds at most ${replicasPerCellMax} replicas: ${fix}`);
    }
  }
};

const parseFlags = (args: readonly string[]) => {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: false }).values;
  } catch (thrown) {
    throw new UsageError(`${messageOf(thrown)}\n\n${usage}`);
  }
};

export const parseOptions = (
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): SimOptions => {
  const values = parseFlags(args);
  const nodes = listOf('nodes', values.nodes, wholeNumber('nodes', 1));
  const cells = listOf('cells', values.cells, wholeNumber('cells', 1));
  checkCells(nodes, cells);
  return {
    nodes,
    cells,
    traceFiles: traceFilesOf(values.trace, values.traces, environment),
    seeds: listOf('seed', values.seed, wholeNumber('seed', 0)),
    loads: listOf('load', values.load, parseLoad),
    policies: values.policy === undefined ? simulatedPolicies : listOf('policy', values.policy, parsePolicy),
    capacityBlocks: wholeNumber('capacity-blocks', 1)(values['capacity-blocks']),
    eventDelayMs: wholeNumber('event-delay-ms', 0)(values['event-delay-ms']),
    digestTokens: wholeNumber('digest-tokens', 1)(values['digest-tokens'] ?? String(edgeDigestTokens)),
    label: values.label,
    json: values.json,
    save: values.save,
  };
};
