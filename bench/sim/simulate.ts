/**
 * A trace through the production directory, its cells, map and policy, against simulated engines. Events in order of
 * time; deterministic for a seed. The directory learns rates and cache contents from what it is told, as in
 * production: nothing here hands it the engines' timing or their caches.
 */
import { telemetryMs } from '@cognitora/protocol/limits';
import type { Policy } from '../../edge/src/policy/policy.ts';
import { EngineModel, type Job } from './engine-model.ts';
import { figuresOf, type Run, type SimulationFigures } from './figures.ts';
import { Fleet, type Placement } from './fleet.ts';
import { seededRandom } from './random.ts';
import type { Trace } from './trace.ts';
import type { TraceRequest } from './trace-request.ts';

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
  /** Tokens of one digest; undefined: the trace's block. */
  readonly digestTokens?: number | undefined;
}

interface Delta {
  readonly dueMs: number;
  readonly node: number;
  readonly added: readonly number[];
  readonly removed: readonly number[];
}

/** A request that was placed and is not over. */
interface Underway {
  readonly placement: Placement;
  readonly arrivedMs: number;
  cachedTokens: number;
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #fleet: Fleet;
  readonly #engines: readonly EngineModel[];
  /** In order of time, since every one waits the same. */
  readonly #deltas: Delta[] = [];
  readonly #underway = new Map<number, Underway>();
  readonly #computedTokens: number[];
  readonly #ttftMs: number[] = [];
  #hitTokens = 0;
  #promptTokens = 0;
  #outputTokens = 0;
  #refused = 0;
  #nowMs = 0;
  /** When telemetry is next told. */
  #measureMs = 0;

  constructor(options: SimulationOptions) {
    const { nodes, capacityBlocks, trace, digestTokens, eventDelayMs } = options;
    const { blockTokens } = trace;
    this.#options = options;
    this.#computedTokens = Array.from({ length: nodes }, () => 0);
    const random = seededRandom(options.seed);
    this.#fleet = new Fleet({ ...options, blockTokens, digestTokens: digestTokens ?? blockTokens, random });
    this.#engines = Array.from({ length: nodes }, (_, node) => {
      const events = {
        firstToken: (job: Job, nowMs: number, cachedTokens: number) =>
          this.#firstToken(job, node, nowMs, cachedTokens),
        done: (job: Job, nowMs: number) => this.#done(job, nowMs),
        stored: (added: readonly number[], removed: readonly number[], nowMs: number) => {
          this.#deltas.push({ dueMs: nowMs + eventDelayMs, node, added, removed });
        },
      };
      return new EngineModel({ capacityBlocks, blockTokens, events });
    });
  }

  run(): SimulationFigures {
    const { trace, load, nodes } = this.#options;
    const stretch = trace.prefillWorkMs / (load * nodes) / trace.spanMs;
    for (const [id, request] of trace.requests.entries()) {
      this.#advance(request.atMs * stretch);
      this.#arrive(id, request);
    }
    this.#advance(Number.POSITIVE_INFINITY);
    // Those that were done early idle until the last one is.
    for (const engine of this.#engines) engine.advance(this.#nowMs);
    return figuresOf(this.#result());
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
      this.#measure(Math.min(dueMs, untilMs));
      if (dueMs > untilMs || dueMs === Number.POSITIVE_INFINITY) break;
      this.#nowMs = Math.max(this.#nowMs, dueMs);
      if (engine === undefined) this.#hear();
      else engine.advance(dueMs);
    }
    if (untilMs !== Number.POSITIVE_INFINITY) this.#nowMs = untilMs;
  }

  /**
   * Tells what each node draws, every second. Called before whatever happens next, at `untilMs`: until then nothing
   * changes, so that of several seconds the last says all.
   */
  #measure(untilMs: number): void {
    if (untilMs < this.#measureMs || untilMs === Number.POSITIVE_INFINITY) return;
    const atMs = Math.floor(untilMs / telemetryMs) * telemetryMs;
    this.#measureMs = atMs + telemetryMs;
    for (const [node, { watts }] of this.#engines.entries()) this.#fleet.measured(node, watts, atMs);
  }

  #hear(): void {
    const delta = this.#deltas.shift();
    if (delta !== undefined) this.#fleet.delta(delta.node, delta.added, delta.removed, this.#nowMs);
  }

  #arrive(id: number, { inputTokens, outputTokens, blocks }: TraceRequest): void {
    const placement = this.#fleet.place(blocks, inputTokens, this.#nowMs);
    if (placement === undefined) {
      this.#refused += 1;
      return;
    }
    this.#underway.set(id, { placement, arrivedMs: this.#nowMs, cachedTokens: 0 });
    this.#engines[placement.node]?.submit({ id, inputTokens, outputTokens, blocks }, this.#nowMs);
  }

  #firstToken(job: Job, node: number, nowMs: number, cachedTokens: number): void {
    const underway = this.#underway.get(job.id);
    if (underway === undefined) return;
    this.#fleet.firstByte(underway.placement, nowMs);
    underway.cachedTokens = cachedTokens;
    this.#ttftMs.push(nowMs - underway.arrivedMs);
    this.#hitTokens += cachedTokens;
    this.#promptTokens += job.inputTokens;
    this.#computedTokens[node] = (this.#computedTokens[node] ?? 0) + job.inputTokens - cachedTokens;
  }

  #done(job: Job, nowMs: number): void {
    const underway = this.#underway.get(job.id);
    if (underway === undefined) return;
    this.#underway.delete(job.id);
    this.#outputTokens += job.outputTokens;
    this.#fleet.settle(underway.placement, {
      nowMs,
      promptTokens: job.inputTokens,
      cachedTokens: underway.cachedTokens,
      completionTokens: job.outputTokens,
    });
  }

  #result(): Run {
    const { trace, cells } = this.#options;
    return {
      ceiling: trace.ceiling,
      cells,
      ttftMs: this.#ttftMs,
      computedTokens: this.#computedTokens,
      hitTokens: this.#hitTokens,
      promptTokens: this.#promptTokens,
      outputTokens: this.#outputTokens,
      refused: this.#refused,
      joules: this.#engines.reduce((sum, engine) => sum + engine.joules, 0),
      tokensByBatch: this.#engines.map((engine) => engine.tokensByBatch),
    };
  }
}

export const simulate = (options: SimulationOptions): SimulationFigures => new Simulation(options).run();
