/** Limits and what they do, as the admin API answers them, and how a person reads them. Asks nobody. */
import { printable } from '@cognitora/protocol/printable';
import type { NodesAnswer } from './node-report.ts';
import { table } from './terminal.ts';

interface Used {
  readonly waiting: number;
  readonly live: number;
  readonly granted: number;
  readonly refused: Readonly<Record<string, number>>;
}

interface ModelLimitsAnswer {
  readonly concurrency?: number;
  readonly queueMax?: number;
  readonly queueMsMax?: number;
  readonly firstTokenMs?: number;
  readonly seatsPerReplica?: number;
}

export interface LimitsAnswer {
  readonly defaults: ModelLimitsAnswer;
  readonly regions: readonly {
    readonly region: string;
    readonly limits: {
      readonly models: readonly (ModelLimitsAnswer & { readonly model: string })[];
      readonly tenants: readonly {
        readonly tenant: string;
        readonly concurrency?: number;
        readonly weight?: number;
      }[];
    };
    readonly models: readonly (Used & { readonly model: string })[];
    readonly tenants: readonly (Used & { readonly tenant: string })[];
    readonly retries: { readonly left: number; readonly refused: number };
  }[];
}

const nothing: Used = { waiting: 0, live: 0, granted: 0, refused: {} };

const usedCells = ({ live, waiting, granted, refused }: Used): (string | number)[] => {
  const reasons = Object.entries(refused).map(([reason, count]) => `${count} ${reason}`);
  return [live, waiting, granted, reasons.length === 0 ? '-' : reasons.join(', ')];
};

/** Those that have limits, then those that only have requests. */
const namesOf = (limited: readonly string[], used: readonly string[]): readonly string[] => [
  ...new Set([...limited, ...used]),
];

const seconds = (ms: number | undefined): string => (ms === undefined ? '-' : `${ms / 1_000} s`);

/** Which of a model's engines in one region tell how much they have to do: by that seats are learned. */
type Tells = 'all' | 'some' | 'none' | 'nobody serves it';

const tellsOf = (nodes: NodesAnswer, region: string, model: string): Tells => {
  const here = nodes.regions.filter((one) => one.region === region).flatMap((one) => one.nodes);
  const serving = here.flatMap(({ replicas }) => replicas.filter(({ models }) => models.includes(model)));
  if (serving.length === 0) return 'nobody serves it';
  const told = serving.filter(({ load }) => load?.running !== undefined).length;
  if (told === serving.length) return 'all';
  return told === 0 ? 'none' : 'some';
};

const seatsWords: Readonly<Record<Tells, string>> = {
  all: 'learned',
  some: 'guessed',
  none: 'guessed',
  'nobody serves it': '-',
};

/** Those that are limited, or were asked for. */
const modelNames = ({ limits, models }: LimitsAnswer['regions'][number]): readonly string[] =>
  namesOf(
    limits.models.map(({ model }) => model),
    models.map(({ model }) => model),
  );

/** Of models for which nobody knows how many requests a replica had better have. */
const untoldLines = ({ regions }: LimitsAnswer, nodes: NodesAnswer): readonly string[] => {
  const lines = regions.flatMap((one) =>
    modelNames(one).flatMap((model) => {
      const isSet = one.limits.models.find((each) => each.model === model)?.seatsPerReplica !== undefined;
      const tells = isSet ? 'all' : tellsOf(nodes, one.region, model);
      if (tells !== 'none' && tells !== 'some') return [];
      const which = tells === 'none' ? 'its engines' : 'some of its engines';
      return `${printable(model)}: ${which} tell no load; name their profile to the agent, or set --seats.`;
    }),
  );
  return lines.length === 0 ? [] : [[...new Set(lines)].join('\n')];
};

const modelRows = ({ defaults, regions }: LimitsAnswer, nodes: NodesAnswer): (string | number)[][] =>
  regions.flatMap((one) => {
    const { region, limits, models } = one;
    return modelNames(one).map((name) => {
      const held = { ...defaults, ...limits.models.find(({ model }) => model === name) };
      const used = models.find(({ model }) => model === name) ?? nothing;
      return [
        ...[region, printable(name), held.seatsPerReplica ?? seatsWords[tellsOf(nodes, region, name)]],
        held.concurrency ?? '-',
        ...[held.queueMax ?? '-', seconds(held.queueMsMax), seconds(held.firstTokenMs), ...usedCells(used)],
      ];
    });
  });

const tenantRows = ({ regions }: LimitsAnswer): (string | number)[][] =>
  regions.flatMap(({ region, limits, tenants }) => {
    const names = namesOf(
      limits.tenants.map(({ tenant }) => tenant),
      tenants.map(({ tenant }) => tenant),
    );
    return names.map((name) => {
      const held = limits.tenants.find(({ tenant }) => tenant === name);
      const used = tenants.find(({ tenant }) => tenant === name) ?? nothing;
      return [region, printable(name), held?.concurrency ?? '-', held?.weight ?? 1, ...usedCells(used)];
    });
  });

const usedHeader = ['RUNNING', 'WAITING', 'LET IN', 'REFUSED'];

/** `nodes`: who serves what now, and whether it tells its load. */
export const limitsReport = (answer: LimitsAnswer, nodes: NodesAnswer): string => {
  const models = modelRows(answer, nodes);
  const tenants = tenantRows(answer);
  const retries = answer.regions.map(
    ({ region, retries: { left, refused } }) =>
      `${region} may make ${left} more now, and has turned down ${refused}`,
  );
  const modelHeader = ['REGION', 'MODEL', 'SEATS', 'AT ONCE', 'QUEUE', 'WAITS', 'FIRST TOKEN', ...usedHeader];
  const tenantHeader = ['REGION', 'TENANT', 'AT ONCE', 'WEIGHT', ...usedHeader];
  return [
    models.length === 0 ? 'No model has limits or was asked for.' : table(modelHeader, models),
    ...untoldLines(answer, nodes),
    tenants.length === 0 ? 'No tenant has limits or asked.' : table(tenantHeader, tenants),
    `Retries of requests that failed: ${retries.join('; ')}.`,
  ].join('\n\n');
};
