/** What happens in a run, drawn from its seed: the fleet, its traffic, and what fails when. Data only. */
import type { Chance } from './random.ts';
import type { RequestPlan } from './sim-client.ts';

export const layouts = ['one-object', 'object-per-node'] as const;
export type Layout = (typeof layouts)[number];

export const faultKinds = [
  'link cut',
  'link cut at the agent',
  'link cut at the edge',
  'link held',
  'link overtaken',
  'agent crash',
  'agent drain',
  'agent held up',
  'engine crash',
  'engine refuses',
  'engine breaks off',
  'engine hangs',
  'engine slow',
  'region crash',
  'region evicted',
  'region held up',
  'node object crash',
  'node object evicted',
  'registry crash',
  'worker crash',
  'edge crash',
  'cordon',
  'clock jump at the edge',
  'clock jump at the agent',
  'slow disk',
  'calls repeated',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface FaultPlan {
  readonly atMs: number;
  readonly kind: FaultKind;
  /** Picks a node, and of its engines one. */
  readonly node: number;
  readonly engine: number;
  /** Until it is mended, where it lasts. */
  readonly lastsMs: number;
  /** By how much a clock jumps. */
  readonly jumpMs: number;
}

export interface EnginePlan {
  readonly model: string;
  readonly firstMs: number;
  readonly nextMs: number;
  /** Requests that it works on at once; undefined: all, and its metrics tell of none. */
  readonly slots: number | undefined;
  /** What it pads each event of a stream with, as some do against who listens; undefined: nothing. */
  readonly paddingBytes?: number;
}

/** What an operator set before the traffic began, of a model or a tenant. */
export interface LimitPlan {
  readonly kind: 'models' | 'tenants';
  readonly name: string;
  readonly limits: Readonly<Record<string, number>>;
}

export interface Plan {
  readonly seed: number;
  readonly layout: Layout;
  /** Engines by node. */
  readonly nodes: readonly (readonly EnginePlan[])[];
  readonly limits: readonly LimitPlan[];
  readonly requests: readonly RequestPlan[];
  readonly faults: readonly FaultPlan[];
  /** Between client and edge, between processes of the edge, between edge and agents. */
  readonly clientMs: number;
  readonly hopMs: number;
  readonly linkMs: number;
}

/** Traffic begins when the fleet stands, and faults with it. */
export const trafficFromMs = 3_000;
/** The last request is sent, and the last fault begins, by then. */
export const trafficToMs = 17_000;
/** By then all is mended. */
export const mendedMs = 24_000;

const models = ['small', 'large'];
const tenants = ['one', 'other'];
/** Whom nothing limits: it asks when all is over. */
export const proberTenant = 'prober';
export const allTenants = [...tenants, proberTenant];

/** What the slowest engine needs for an answer. */
const answerMsMax = 16_000;

const requestOf = (chance: Chance, { model, nextMs }: EnginePlan): RequestPlan => {
  const kind = chance.isHit(0.7) ? 'chat' : chance.pick(['completion', 'whole chat'] as const);
  const isLong = chance.isHit(0.1);
  const pieces = isLong ? Math.floor(answerMsMax / nextMs) : chance.whole(1, 80);
  return {
    atMs: chance.between(trafficFromMs, trafficToMs),
    ...{ kind, model, pieces, tenant: chance.pick(tenants) },
    isLimited: kind === 'completion' || chance.isHit(0.3),
    refusesContinuation: chance.isHit(0.05),
    timeoutMs: chance.isHit(0.1) ? chance.whole(200, 8_000) : undefined,
    promptBytes: chance.isHit(0.1) ? chance.whole(20_000, 300_000) : chance.whole(0, 2_000),
    leavesAfterMs: chance.isHit(0.15) ? chance.between(1, 6_000) : undefined,
    stallsAfterMs: chance.isHit(0.1) ? chance.between(50, 3_000) : undefined,
    stallMs: chance.between(500, 6_000),
  };
};

/** For models a limit each, for tenants now and then. Queues that are never short are left to the default. */
const limitsOf = (chance: Chance, used: readonly string[]): readonly LimitPlan[] => [
  ...used.map((name): LimitPlan => {
    const limits = chance.pick([
      { seatsPerReplica: chance.whole(1, 3) },
      { concurrency: chance.whole(1, 4) },
      { seatsPerReplica: 1, queueMax: chance.whole(0, 4) },
      { concurrency: 2, queueMsMax: chance.whole(500, 8_000) },
    ]);
    return { kind: 'models', name, limits };
  }),
  ...tenants
    .filter(() => chance.isHit(0.3))
    .map((name): LimitPlan => {
      const limits = chance.pick([{ concurrency: chance.whole(1, 4) }, { weight: chance.between(0.1, 10) }]);
      return { kind: 'tenants', name, limits };
    }),
];

/** Half of what a busy fleet is sent comes nearly at once. */
const inBurst = (chance: Chance, requests: readonly RequestPlan[]): readonly RequestPlan[] => {
  const burstMs = chance.between(trafficFromMs, trafficToMs);
  return requests.map((request) =>
    chance.isHit(0.5) ? { ...request, atMs: burstMs + chance.between(0, 200) } : request,
  );
};

const faultOf = (chance: Chance, kinds: readonly FaultKind[]): FaultPlan => {
  const atMs = chance.between(trafficFromMs, trafficToMs);
  const lastsMs = chance.isHit(0.5) ? chance.between(50, 3_000) : chance.between(3_000, 15_000);
  return {
    atMs,
    kind: chance.pick(kinds),
    node: chance.whole(0, 7),
    engine: chance.whole(0, 3),
    lastsMs: Math.min(lastsMs, mendedMs - atMs),
    jumpMs: chance.between(-1, 1) * chance.pick([2_000, 12_000, 60_000]),
  };
};

/** The same, where each request has a short deadline and what fails stays so until all is mended. */
export const hurried = (plan: Plan): Plan => ({
  ...plan,
  requests: plan.requests.map((request, index) => ({
    ...request,
    ...{ timeoutMs: 1_000 + 250 * index, stallsAfterMs: undefined, leavesAfterMs: undefined },
  })),
  faults: plan.faults.map((fault) => ({ ...fault, lastsMs: mendedMs - fault.atMs })),
});

/** What a request takes that is served alone, and its deadline: behind another one it has not time enough. */
const crowdedAnswerMs = 5_000;
const crowdedTimeoutMs = 7_000;

/** The same undisturbed, where all requests come nearly at once and of each model one at a time is served. */
export const crowded = (plan: Plan): Plan => {
  const paces = new Map(plan.nodes.flat().map(({ model, nextMs }) => [model, nextMs]));
  return {
    ...plan,
    limits: Array.from(paces.keys(), (name) => ({ kind: 'models', name, limits: { concurrency: 1 } })),
    requests: plan.requests.map((request, index) => ({
      ...request,
      ...{ atMs: trafficFromMs + index, timeoutMs: crowdedTimeoutMs },
      pieces: Math.ceil(crowdedAnswerMs / (paces.get(request.model) ?? crowdedAnswerMs)),
      ...{ stallsAfterMs: undefined, leavesAfterMs: undefined },
    })),
    faults: [],
  };
};

/** So long takes an answer that is cut off in its midst, at least. */
const cutOffAnswerMs = 6_000;
const cutOffFromMs = 9_000;
const cutOffEveryMs = 2_500;
/** Each second one strikes while who was struck is on the way back. */
const cutOffAgainMs = 400;

/**
 * The same on one host, whose answers nobody else goes on with: when the first fault strikes all are in their midst,
 * the second strikes at once, and so do the next two, soon after.
 */
export const cutOff = (plan: Plan): Plan => {
  const engines = (plan.nodes[0] ?? []).slice(0, 1).map((engine) => ({ ...engine, slots: undefined }));
  const [{ model, nextMs } = { model: '', nextMs: 1 }] = engines;
  return {
    ...plan,
    nodes: [engines],
    limits: [],
    requests: plan.requests.slice(0, 6).map((request) => ({
      ...request,
      ...{ model, kind: request.kind === 'whole chat' ? 'chat' : request.kind, isLimited: true },
      ...{ pieces: Math.ceil(cutOffAnswerMs / nextMs), atMs: cutOffFromMs - 1_000 - (request.atMs % 2_000) },
      ...{ refusesContinuation: true, timeoutMs: undefined },
      ...{ stallsAfterMs: undefined, leavesAfterMs: undefined },
    })),
    faults: plan.faults.map((fault, index) => ({
      ...fault,
      atMs: cutOffFromMs + cutOffEveryMs * Math.floor(index / 2) + cutOffAgainMs * (index % 2),
    })),
  };
};

/** What happens to those: the host itself is well all the while. */
export const cutOffFaults: readonly FaultKind[] = [
  ...(['link cut', 'link cut at the agent', 'region crash', 'region evicted'] as const),
  ...(['node object crash', 'node object evicted'] as const),
];

/**
 * The same undisturbed on one host, where each answer is several times what is kept of it and what may be on its way,
 * each prompt more than an agent takes at once, and each client stops reading for a while.
 */
export const heavy = (plan: Plan): Plan => {
  const [engine] = plan.nodes[0] ?? [];
  if (engine === undefined) return plan;
  return {
    ...plan,
    nodes: [[{ ...engine, nextMs: 15, slots: undefined, paddingBytes: 8_000 }]],
    limits: [],
    requests: plan.requests.slice(0, 3).map((request) => ({
      ...request,
      ...{ kind: 'chat', model: engine.model, pieces: 250, promptBytes: 600_000 },
      ...{ timeoutMs: undefined, leavesAfterMs: undefined, stallsAfterMs: 3_000, stallMs: 3_000 },
    })),
    faults: [],
  };
};

/** The same, where what lasts began before the first link and lasts until all is mended. */
export const fromTheBegin = (plan: Plan): Plan => ({
  ...plan,
  faults: plan.faults.map((fault) => ({ ...fault, atMs: 0, lastsMs: mendedMs })),
});

export const planOf = (seed: number, chance: Chance, kinds: readonly FaultKind[] = faultKinds): Plan => {
  const used = chance.isHit(0.5) ? models : models.slice(0, 1);
  const paces = new Map(models.map((model) => [model, chance.pick([15, 20, 50, 100])]));
  // Every other fleet is one in which requests wait for each other.
  const isBusy = chance.isHit(0.5);
  const nodes = Array.from({ length: chance.whole(1, 4) }, () =>
    Array.from({ length: chance.isHit(0.3) ? 2 : 1 }, () => {
      const model = chance.pick(used);
      const slots = isBusy && chance.isHit(0.7) ? chance.pick([1, 2, 4]) : undefined;
      return { model, firstMs: chance.between(5, 600), nextMs: paces.get(model) ?? 20, slots };
    }),
  );
  const served = nodes.flat();
  const spread = Array.from({ length: chance.whole(4, 18) }, () => requestOf(chance, chance.pick(served)));
  const requests = isBusy ? inBurst(chance, spread) : spread;
  // Each tenth run is undisturbed: then nothing is forgiven.
  const faults = chance.isHit(0.1)
    ? []
    : Array.from({ length: chance.whole(1, 6) }, () => faultOf(chance, kinds));
  return {
    seed,
    layout: layouts[seed % 2] ?? 'one-object',
    nodes,
    limits: isBusy && chance.isHit(0.7) ? limitsOf(chance, used) : [],
    requests: requests.toSorted((one, other) => one.atMs - other.atMs),
    faults: faults.sort((one, other) => one.atMs - other.atMs),
    clientMs: chance.pick([1, 20, 80]),
    hopMs: chance.pick([0.2, 2, 10]),
    linkMs: chance.pick([0.5, 10, 80]),
  };
};
