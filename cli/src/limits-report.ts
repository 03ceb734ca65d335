/** Limits and what they do, as the admin API answers them, and how a person reads them. Asks nobody. */
import { printable } from '@cognitora/protocol/printable';
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

const modelRows = ({ defaults, regions }: LimitsAnswer): (string | number)[][] =>
  regions.flatMap(({ region, limits, models }) => {
    const names = namesOf(
      limits.models.map(({ model }) => model),
      models.map(({ model }) => model),
    );
    return names.map((name) => {
      const held = { ...defaults, ...limits.models.find(({ model }) => model === name) };
      const used = models.find(({ model }) => model === name) ?? nothing;
      return [
        ...[region, printable(name), held.seatsPerReplica ?? 'learned', held.concurrency ?? '-'],
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

export const limitsReport = (answer: LimitsAnswer): string => {
  const models = modelRows(answer);
  const tenants = tenantRows(answer);
  const retries = answer.regions.map(
    ({ region, retries: { left, refused } }) => `${region} ${left} left, ${refused} not made`,
  );
  const modelHeader = ['REGION', 'MODEL', 'SEATS', 'AT ONCE', 'QUEUE', 'WAITS', 'FIRST TOKEN', ...usedHeader];
  const tenantHeader = ['REGION', 'TENANT', 'AT ONCE', 'WEIGHT', ...usedHeader];
  return [
    models.length === 0 ? 'No model has limits or was asked for.' : table(modelHeader, models),
    tenants.length === 0 ? 'No tenant has limits or asked.' : table(tenantHeader, tenants),
    `Retries: ${retries.join('; ')}.`,
  ].join('\n\n');
};
