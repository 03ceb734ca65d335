/**
 * One simulated engine: serial prefill, batched decoding, an LRU cache of prefix blocks, watts. A model of service
 * times, not of an engine's code; pure, driven by `advance`. What it stores and evicts it tells, as KV events would.
 *
 *   submit -> queue -> prefill (one at a time) --first token--> decoding (all at once) -> done
 */
import * as constants from './constants.ts';

export interface Job {
  readonly id: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly blocks: readonly number[];
}

export interface EngineEvents {
  /** The job's first token is out; so many of its input tokens were in the cache when its prefill began. */
  firstToken(job: Job, nowMs: number, cachedTokens: number): void;
  done(job: Job, nowMs: number): void;
  /** Blocks now in the cache, and no longer in it. */
  stored(added: readonly number[], removed: readonly number[], nowMs: number): void;
}

interface Decoding {
  readonly job: Job;
  /** The engine's token count at which this job is done. */
  readonly endsAtTokens: number;
}

export interface EngineOptions {
  readonly capacityBlocks: number;
  readonly blockTokens: number;
  readonly events: EngineEvents;
}

export class EngineModel {
  readonly #options: EngineOptions;
  readonly #queue: Job[] = [];
  /** Least recently used first. */
  readonly #cache = new Set<number>();
  #prefill: { readonly job: Job; readonly endsMs: number; readonly cachedTokens: number } | undefined;
  readonly #decoding: Decoding[] = [];
  /** Tokens that a job decoding since the start would have by now. */
  #tokens = 0;
  #nowMs = 0;
  #joules = 0;
  /** Tokens decoded at each batch size: at most one entry per request of a trace. */
  readonly #tokensByBatch: number[] = [];

  constructor(options: EngineOptions) {
    this.#options = options;
  }

  get joules(): number {
    return this.#joules;
  }

  /** What the node draws from when something last happened here until something next does. */
  get watts(): number {
    if (this.#prefill !== undefined) return constants.prefillWatts;
    const share = Math.min(1, this.#decoding.length / constants.fullBatch);
    return constants.idleWatts + (constants.decodeWatts - constants.idleWatts) * share;
  }

  /** Tokens decoded beside 0, 1, 2 ... requests, themselves counted: how long each took follows. */
  get tokensByBatch(): readonly number[] {
    return this.#tokensByBatch;
  }

  submit(job: Job, nowMs: number): void {
    this.advance(nowMs);
    this.#queue.push(job);
    if (this.#prefill === undefined) this.#startPrefill();
  }

  /** When something next happens by itself; infinity when nothing will. */
  get nextMs(): number {
    const prefillMs = this.#prefill?.endsMs ?? Number.POSITIVE_INFINITY;
    const first = this.#decoding[0];
    if (first === undefined) return prefillMs;
    const stepMs = constants.decodeTokenMs(this.#decoding.length);
    return Math.min(prefillMs, this.#nowMs + Math.max(0, first.endsAtTokens - this.#tokens) * stepMs);
  }

  /** Lets time pass up to `nowMs`. */
  advance(nowMs: number): void {
    for (let next = this.nextMs; next <= nowMs; next = this.nextMs) {
      this.#pass(next);
      this.#finishDecoding();
      if (this.#prefill !== undefined && this.#prefill.endsMs <= this.#nowMs) this.#finishPrefill();
    }
    this.#pass(nowMs);
  }

  #pass(nowMs: number): void {
    const ms = nowMs - this.#nowMs;
    if (ms <= 0) return;
    const batch = this.#decoding.length;
    this.#joules += (this.watts * ms) / 1000;
    if (batch > 0) {
      const tokens = ms / constants.decodeTokenMs(batch);
      this.#tokens += tokens;
      this.#tokensByBatch[batch] = (this.#tokensByBatch[batch] ?? 0) + tokens * batch;
    }
    this.#nowMs = nowMs;
  }

  #startPrefill(): void {
    const job = this.#queue.shift();
    if (job === undefined) return;
    const cachedTokens = this.#cachedTokens(job);
    const uncached = job.inputTokens - cachedTokens;
    const ms = constants.prefillMs(uncached, job.inputTokens, this.#decoding.length);
    this.#prefill = { job, endsMs: this.#nowMs + ms, cachedTokens };
  }

  /** Tokens of the longest cached prefix; one token is always computed. Nothing is evicted before it is used. */
  #cachedTokens({ blocks, inputTokens }: Job): number {
    let depth = 0;
    while (depth < blocks.length && this.#cache.has(blocks[depth] ?? -1)) depth += 1;
    return Math.min(depth * this.#options.blockTokens, inputTokens - 1);
  }

  #finishPrefill(): void {
    const prefill = this.#prefill;
    if (prefill === undefined) return;
    this.#prefill = undefined;
    const { job, cachedTokens } = prefill;
    this.#store(job.blocks);
    this.#options.events.firstToken(job, this.#nowMs, cachedTokens);
    if (job.outputTokens > 1) this.#join({ job, endsAtTokens: this.#tokens + job.outputTokens - 1 });
    else this.#options.events.done(job, this.#nowMs);
    this.#startPrefill();
  }

  #store(blocks: readonly number[]): void {
    const added: number[] = [];
    const removed: number[] = [];
    for (const id of blocks) {
      if (!this.#cache.delete(id)) added.push(id);
      this.#cache.add(id);
    }
    for (const oldest of this.#cache) {
      if (this.#cache.size <= this.#options.capacityBlocks) break;
      this.#cache.delete(oldest);
      removed.push(oldest);
    }
    if (added.length + removed.length > 0) this.#options.events.stored(added, removed, this.#nowMs);
  }

  /** Sorted by end: the next to finish is first. */
  #join(entry: Decoding): void {
    let at = this.#decoding.length;
    while (at > 0 && (this.#decoding[at - 1]?.endsAtTokens ?? 0) > entry.endsAtTokens) at -= 1;
    this.#decoding.splice(at, 0, entry);
  }

  #finishDecoding(): void {
    for (let first = this.#decoding[0]; first !== undefined; first = this.#decoding[0]) {
      if (first.endsAtTokens - this.#tokens > 1e-6) return;
      this.#decoding.shift();
      this.#options.events.done(first.job, this.#nowMs);
    }
  }
}
