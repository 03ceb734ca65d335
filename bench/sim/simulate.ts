/**
 * A trace through the production directory, its cells, map and policy, against simulated engines. Events in order of
 * time; deterministic for a seed. The directory learns rates and cache contents from what it is told, as in
 * production: nothing here hands it the engines' timing or their caches.
 */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { Directory } from '../../edge/src/directory/directory.ts';
import type { Reservation } from '../../edge/src/directory/load.ts';
import type { Policy } from '../../edge/src/policy/policy.ts';
import { quantile } from '../report/statistics.ts';
import { EngineModel, type Job } from './engine-model.ts';
import { seededRandom } from './random.ts';
import type { Trace, TraceRequest } from './trace.ts';

export interface SimulationOptions {
  readonly trace: Trace;
  readonly nodes: number;
  readonly capacityBlocks: number;
  readonly policy: Policy;
  /** 1: prefill without any cache hit keeps every node busy. */
  readonly load: number;
  readonly seed: number;
  readonly cells: number;
  /** Until the edge hears what an engine stored or evicted. */
  readonly eventDelayMs: number;
}

export interface SimulationFigures {
  /** Cached tokens of all prompt tokens, and that as a share of the trace's ceiling. */
  readonly hitRatio: number;
  readonly ceilingShare: number;
  readonly ttftMeanMs: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  readonly interTokenP99Ms: number;
  /** Standard deviation over mean of the prompt tokens that nodes computed. */
  readonly balanceCv: number;
  /** Mean load of the busiest cell over the mean of all; 1 with one cell. */
  readonly cellImbalance: number;
  readonly refused: number;
  readonly joules: number;
  readonly tokensPerJoule: number;
}

interface Delta {
  readonly dueMs: number;
  readonly node: number;
  readonly added: readonly number[];
  readonly removed: readonly number[];
}

const model = 'simulated';
const replica = 'r0' as ReplicaName;
const epoch = 1 as Epoch;
const nodeIdOf = (node: number): NodeId => `n${node}` as NodeId;

/** Block ids as digests: any fixed mixing will do, since equal ids mean equal prefixes. */
const digestsOf = (blocks: readonly number[]): Uint32Array => {
  const digests = new Uint32Array(2 * blocks.length);
  for (const [at, id] of blocks.entries()) {
    const low = Math.imul(id + 1, 0x9e3779b1) ^ 0x51ed270b;
    digests[2 * at] = Math.imul(low ^ (low >>> 15), 0x85ebca6b);
    digests[2 * at + 1] = Math.imul(id ^ (low >>> 13), 0xc2b2ae35);
  }
  return digests;
};

class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: () => number;
  readonly #directory: Directory;
  readonly #engines: EngineModel[];
  readonly #deltas: Delta[] = [];
  readonly #sequences: number[];
  readonly #asked: { readonly node: number; readonly request: number }[] = [];
  readonly #reservations = new Map<number, Reservation>();
  readonly #arrivedMs = new Map<number, number>();
  readonly #cached = new Map<number, number>();
  readonly #computed: number[];
  readonly #ttftMs: number[] = [];
  #hitTokens = 0;
  #promptTokens = 0;
  #outputTokens = 0;
  #refused = 0;
  #nowMs = 0;

  constructor(options: SimulationOptions) {
    const { nodes, capacityBlocks, policy, seed, cells, trace } = options;
    this.#options = options;
    this.#random = seededRandom(seed);
    this.#sequences = Array.from({ length: nodes }, () => 0);
    this.#computed = Array.from({ length: nodes }, () => 0);
    this.#directory = new Directory({
      secret: seed,
      policy,
      cellReplicasMax: Math.ceil(nodes / cells),
      askSnapshot: (node) => {
        const request = this.#asked.length + 1;
        this.#asked.push({ node: Number(node.slice(1)), request });
        return request;
      },
    });
    this.#engines = Array.from(
      { length: nodes },
      (_, node) =>
        new EngineModel({
          capacityBlocks,
          blockTokens: trace.blockTokens,
          events: {
            firstToken: (job, nowMs, cachedTokens) => this.#firstToken(job, node, nowMs, cachedTokens),
            done: (job, nowMs) => this.#done(job, nowMs),
            stored: (added, removed, nowMs) =>
              this.#deltas.push({ dueMs: nowMs + options.eventDelayMs, node, added, removed }),
          },
        }),
    );
    for (let node = 0; node < nodes; node += 1) this.#join(node, 0);
  }

  run(): SimulationFigures {
    const { trace, load, nodes } = this.#options;
    const scale = trace.prefillWorkMs / (load * nodes) / trace.spanMs;
    for (const [id, request] of trace.requests.entries()) {
      this.#advance(request.atMs * scale);
      this.#arrive(id, request);
    }
    this.#advance(Number.POSITIVE_INFINITY);
    for (const engine of this.#engines) engine.advance(this.#nowMs);
    return this.#figures();
  }

  #join(node: number, nowMs: number): void {
    const models = [{ id: model, createdSeconds: 1, ownedBy: 'simulation' }];
    this.#directory.join(
      nodeIdOf(node),
      epoch,
      nodeIdOf(node),
      [{ name: replica, state: 'ready', models }],
      nowMs,
    );
    this.#directory.announce(nodeIdOf(node), epoch, replica, 'exact', nowMs);
    this.#answerSnapshots(nowMs);
  }

  /** An engine that has stored nothing yet: its snapshot is one empty part. */
  #answerSnapshots(nowMs: number): void {
    for (let asked = this.#asked.pop(); asked !== undefined; asked = this.#asked.pop()) {
      const { node, request } = asked;
      const sequence = this.#sequences[node] ?? 0;
      this.#feedOf(node)?.snapshotPart(
        { epoch, request, sequence, part: 0, isLast: true, blocks: [] },
        nowMs,
      );
    }
  }

  #feedOf(node: number): ReturnType<Directory['feed']> {
    return this.#directory.feed(nodeIdOf(node), epoch, replica, model);
  }

  /** Lets everything happen that is due up to then, in order. */
  #advance(untilMs: number): void {
    for (;;) {
      let dueMs = this.#deltas[0]?.dueMs ?? Number.POSITIVE_INFINITY;
      let engine: EngineModel | undefined;
      for (const candidate of this.#engines) {
        const { nextMs } = candidate;
        if (nextMs >= dueMs) continue;
        dueMs = nextMs;
        engine = candidate;
      }
      if (dueMs > untilMs || dueMs === Number.POSITIVE_INFINITY) break;
      this.#nowMs = Math.max(this.#nowMs, dueMs);
      if (engine === undefined) this.#hear();
      else engine.advance(dueMs);
    }
    if (untilMs !== Number.POSITIVE_INFINITY) this.#nowMs = untilMs;
  }

  #hear(): void {
    const delta = this.#deltas.shift();
    if (delta === undefined) return;
    const sequence = (this.#sequences[delta.node] ?? 0) + 1;
    this.#sequences[delta.node] = sequence;
    const device = (blocks: readonly number[]) =>
      blocks.length === 0 ? [] : [{ tier: 'device' as const, digests: digestsOf(blocks) }];
    this.#feedOf(delta.node)?.delta(
      { epoch, sequence, isCleared: false, added: device(delta.added), removed: device(delta.removed) },
      this.#nowMs,
    );
  }

  #arrive(id: number, request: TraceRequest): void {
    const { blockTokens } = this.#options.trace;
    const { inputTokens, outputTokens, blocks } = request;
    let decision: ReturnType<Directory['decide']>;
    try {
      decision = this.#directory.decide({
        model,
        prompt: { chain: digestsOf(blocks), promptTokens: inputTokens, blockTokens },
        nowMs: this.#nowMs,
        isLeased: () => true,
        random: this.#random,
      });
    } catch {
      this.#refused += 1;
      return;
    }
    this.#reservations.set(id, decision.reservation);
    this.#arrivedMs.set(id, this.#nowMs);
    const node = Number(decision.node.slice(1));
    this.#engines[node]?.submit({ id, inputTokens, outputTokens, blocks }, this.#nowMs);
  }

  #firstToken(job: Job, node: number, nowMs: number, cachedTokens: number): void {
    const reservation = this.#reservations.get(job.id);
    if (reservation !== undefined) this.#directory.firstByte(reservation, nowMs);
    this.#ttftMs.push(nowMs - (this.#arrivedMs.get(job.id) ?? nowMs));
    this.#cached.set(job.id, cachedTokens);
    this.#hitTokens += cachedTokens;
    this.#promptTokens += job.inputTokens;
    this.#computed[node] = (this.#computed[node] ?? 0) + job.inputTokens - cachedTokens;
  }

  #done(job: Job, nowMs: number): void {
    this.#outputTokens += job.outputTokens;
    const reservation = this.#reservations.get(job.id);
    if (reservation === undefined) return;
    this.#directory.settle(reservation, {
      nowMs,
      promptTokens: job.inputTokens,
      cachedTokens: this.#cached.get(job.id),
      completionTokens: job.outputTokens,
    });
  }

  #figures(): SimulationFigures {
    const { trace, nodes, cells } = this.#options;
    const hitRatio = this.#hitTokens / Math.max(1, this.#promptTokens);
    const joules = this.#engines.reduce((sum, engine) => sum + engine.joules, 0);
    const size = Math.ceil(nodes / cells);
    const byCell = Array.from({ length: cells }, (_, cell) =>
      mean(this.#computed.slice(cell * size, (cell + 1) * size)),
    );
    const gaps = this.#engines.flatMap((engine) => engine.decodeGapsMs);
    return {
      hitRatio,
      ceilingShare: trace.ceiling === 0 ? Number.NaN : hitRatio / trace.ceiling,
      ttftMeanMs: mean(this.#ttftMs),
      ttftP50Ms: quantile(this.#ttftMs, 0.5),
      ttftP99Ms: quantile(this.#ttftMs, 0.99),
      interTokenP99Ms: quantile(gaps, 0.99),
      balanceCv: deviation(this.#computed) / mean(this.#computed),
      cellImbalance: Math.max(...byCell) / mean(byCell),
      refused: this.#refused,
      joules,
      tokensPerJoule: (this.#promptTokens + this.#outputTokens) / joules,
    };
  }
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const deviation = (values: readonly number[]): number => {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
};

export const simulate = (options: SimulationOptions): SimulationFigures => new Simulation(options).run();
