/**
 * The moves of one replica: before a request is sent, the prefix that another host saved is restored into a free
 * slot, if that is quicker than computing it; after an answer, what the hand-over lacks is saved, off the hot path and
 * not too often. Owns which slots are promised to whom. A move that fails costs time, never a request.
 *
 *   request -> its chain -> has? -> worth it? -> fetch, check, restore -> sent -> first byte: the slot is its own
 *   answer  -> its chain -> has? -> lacking?  -> save, seal, put
 */
import type { MoveRefusal, MovesStatus } from '@cognitora/protocol/agent-status';
import type { KvSource } from '@cognitora/protocol/kv-fabric';
import type { OpenRequest, ReplicaReport, Usage } from '@cognitora/protocol/link';
import type { Ask } from '../engines/ask.ts';
import type { Log } from '../log.ts';
import type { HostBlocks } from '../truth/host-blocks.ts';
import type { PromptChain, PromptWatch, SettledPrompt } from '../truth/served-prompt.ts';
import { type EnvelopeHead, EnvelopeRefused, seal } from './envelope.ts';
import type { KvHandover, SavedPrefix } from './handover.ts';
import { MoveCounts } from './move-counts.ts';
import { fitsEnvelope, type MoveFiles } from './move-files.ts';
import { MoveRates } from './move-rates.ts';
import { MovedRequest } from './moved-request.ts';
import { type Probed, probeMoves } from './probe.ts';
import { isStateOf, Slots, slotForRestore, slotOfAnswer } from './slots.ts';

/** Of a prompt that the hand-over lacks, or that is not here: for less no file is worth its while. */
const movedTokensMin = 384;
/** Fewer blocks are fewer tokens than that, whatever the tokeniser: nobody looks for them. */
const movedBlocksMin = 2;
/** Siblings of a burst, one after the other; more are better computed. */
const restoresWaitingMax = 4;
/** A restore that takes longer, or longer than computing would, was misjudged: the request goes on without it. */
const restoreMsMax = 10_000;
/** Answers whose states wait to be saved; an older one gives way, since its slot is the next to be used again. */
const savesWaitingMax = 4;
/** Each takes an engine a part of a second, and the hand-over its room. */
const savesPerMinuteMax = 12;
/** Between looks at an engine that is too busy to be probed. */
const probeAgainMs = 30_000;
/** Restores in a row of which the engine used nothing: then it is not asked again until it comes up anew. */
const vainRestoresMax = 3;

export interface ReplicaMovesOptions {
  readonly ask: Ask;
  readonly files: MoveFiles;
  readonly handover: KvHandover;
  /** Where it is told what this host keeps of the replica's prompts. */
  readonly held: HostBlocks;
  /** What the engine calls its one model; undefined: it has none, or several. */
  readonly servedName: () => string | undefined;
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly pause: (ms: number) => Promise<void>;
  readonly log: Log;
  readonly name: ReplicaReport['name'];
}

/** One start of the engine. */
interface Life {
  /** Undefined until the engine has shown that it restores what it saves. */
  fingerprint: Uint8Array | undefined;
  /** Slots with a restored prefix whose request has not come yet. */
  readonly reserved: Set<number>;
  vainRestores: number;
}

/** How a replica takes in what others saved. */
export interface Mover {
  readonly fingerprint: Uint8Array;
  readonly bytesPerToken: number;
  readonly insertBytesPerMs: number;
}

/** A request that waits for a restore, until that is over. */
interface Wait {
  /** Ends what is fetched. */
  readonly signal: AbortSignal;
  readonly isTooLate: () => boolean;
}

/** A prefix in a slot, for the request that it was restored for. */
export interface Restored {
  readonly tokens: number;
  /** The request took its slot, or never will. */
  release(): void;
  /** What the engine made of it. */
  used(usage: Usage): void;
}

export class ReplicaMoves {
  readonly #options: ReplicaMovesOptions;
  readonly #slots: Slots;
  readonly #rates = new MoveRates();
  readonly #counts = new MoveCounts();
  #life: Life | undefined;
  #live = 0;
  #restoring: Promise<unknown> = Promise.resolve();
  #restoresWaiting = 0;
  #saves: SettledPrompt[] = [];
  #isSaving = false;
  /** When the last saves began. */
  #savedMs: number[] = [];

  constructor(options: ReplicaMovesOptions) {
    this.#options = options;
    this.#slots = new Slots(options.ask);
  }

  get status(): MovesStatus {
    return { canMove: this.#life?.fingerprint !== undefined, ...this.#counts.figures };
  }

  /** Undefined: its KV does not move. */
  get mover(): Mover | undefined {
    const fingerprint = this.#life?.fingerprint;
    if (fingerprint === undefined) return undefined;
    const { insert, state } = this.#rates;
    return { fingerprint, bytesPerToken: state.perMs, insertBytesPerMs: insert.perMs };
  }

  /** What the engine is now. */
  changed({ state }: ReplicaReport): void {
    if (state !== 'ready') this.#life = undefined;
    else if (this.#life === undefined) {
      this.#life = { fingerprint: undefined, reserved: new Set(), vainRestores: 0 };
      void this.#probe(this.#life);
    }
  }

  close(): void {
    this.#life = undefined;
    this.#saves = [];
  }

  /** How a request is watched whose prompt is. */
  watch(open: OpenRequest, prompt: PromptWatch): MovedRequest {
    this.#live += 1;
    return new MovedRequest({
      open,
      prompt,
      monotonicMs: this.#options.monotonicMs,
      isAlone: this.#live === 1,
      restore: this.#life?.fingerprint && ((chain, isOver) => this.#prepare(chain, open.kvFrom, isOver)),
      onPrefilled: (tokens, ms) => this.#rates.prefill.saw(tokens, ms),
      onOver: () => {
        this.#live -= 1;
      },
    });
  }

  /** An answer came to its end, and the engine's cache holds it now. */
  settled(settled: SettledPrompt): void {
    if (this.#life?.fingerprint === undefined || settled.digests.length === 0) return;
    if (settled.usage.promptTokens < movedTokensMin) return;
    this.#saves.push(settled);
    if (this.#saves.length > savesWaitingMax) {
      this.#saves.shift();
      this.#refused('busy');
    }
    void this.#saveAll();
  }

  async #probe(life: Life): Promise<void> {
    const { ask, files, handover, held, log, monotonicMs, name, pause, servedName, wallMs } = this.#options;
    await files.removeOld(wallMs());
    for (let tries = 1; this.#life === life; tries += 1) {
      const served = servedName();
      const probed: Probed =
        served === undefined
          ? { kind: 'never', why: 'it has several models' }
          : await probeMoves({ ask, files, served, rates: this.#rates, monotonicMs });
      if (this.#life !== life) return;
      if (probed.kind === 'moves') {
        life.fingerprint = probed.fingerprint;
        handover.serve({ ...probed, held });
        const fingerprint = Buffer.from(probed.fingerprint.subarray(0, 8)).toString('hex');
        log('info', 'kv moves', { engine: name, fingerprint });
        return;
      }
      if (tries === 1 || probed.kind === 'never') {
        log('warn', 'kv does not move', { engine: name, why: probed.why });
      }
      if (probed.kind === 'never') return;
      await pause(probeAgainMs);
    }
  }

  /** Restores what is worth it. Never rejects, and never takes long. */
  async #prepare(
    chain: PromptChain,
    from: KvSource | undefined,
    isOver: () => boolean,
  ): Promise<Restored | undefined> {
    const life = this.#life;
    if (life?.fingerprint === undefined || !this.#options.handover.isReady(life.fingerprint))
      return undefined;
    if (chain.digests.length - chain.held < movedBlocksMin) return undefined;
    const found = await this.#find(life.fingerprint, chain, from);
    if (found === undefined || found.blocks <= chain.held) return undefined;
    const tokens = Math.floor(found.tokens * (1 - chain.held / found.blocks));
    const ahead = this.#restoresWaiting;
    if (tokens < movedTokensMin) return undefined;
    if (ahead >= restoresWaitingMax) return this.#refused('busy');
    const { bytes, peer } = found;
    if (!this.#rates.isWorthMoving({ bytes, tokens, ahead, peer, msMax: restoreMsMax })) {
      return this.#refused('slower_than_computing');
    }
    const late = new AbortController();
    const wait: Wait = {
      signal: late.signal,
      isTooLate: () => late.signal.aborted || isOver() || this.#life !== life,
    };
    this.#restoresWaiting += 1;
    const restoring = this.#restoring.then(() => this.#restore(life, found, wait));
    this.#restoring = restoring.finally(() => {
      this.#restoresWaiting -= 1;
    });
    const computeMs = this.#rates.prefill.msFor(tokens);
    const restored = await within(Math.min(restoreMsMax, computeMs), restoring);
    if (restored === undefined) late.abort();
    return restored;
  }

  #refused(why: MoveRefusal): undefined {
    this.#counts.refused(why);
  }

  /** What the hand-over has of it, if it says so in time. */
  async #find(
    fingerprint: Uint8Array,
    { digests }: PromptChain,
    from: KvSource | undefined,
  ): Promise<SavedPrefix | undefined> {
    const { handover } = this.#options;
    const rttMs = from === undefined ? 0 : (handover.rttMsTo(from.node) ?? 0);
    const looked = handover.has(fingerprint, digests, from).then(
      (found) => found ?? 'nothing',
      () => 'failed' as const,
    );
    const found = await within(this.#rates.lookMsMax(from?.blocks ?? 0, rttMs), looked);
    if (found === undefined) return this.#refused('too_late');
    if (found === 'failed') return this.#refused('failed');
    const prefix = found === 'nothing' ? undefined : found;
    if (from !== undefined && (prefix?.blocks ?? 0) < from.blocks) this.#refused('gone_at_peer');
    return prefix;
  }

  /** Never rejects. */
  async #restore(life: Life, found: SavedPrefix, wait: Wait): Promise<Restored | undefined> {
    const { files, handover, log, name } = this.#options;
    if (wait.isTooLate()) return this.#refused('too_late');
    try {
      return await files.withName((file) => this.#fetchAndInsert(life, found, file, wait));
    } catch (thrown) {
      if (wait.signal.aborted) return this.#refused('too_late');
      log('warn', 'saved kv is not restored', { engine: name, id: found.id, why: String(thrown) });
      if (!(thrown instanceof EnvelopeRefused)) return this.#refused('failed');
      await handover.drop(found.id).catch(() => {});
      return this.#refused('damaged');
    }
  }

  async #fetchAndInsert(
    life: Life,
    found: SavedPrefix,
    file: string,
    { signal, isTooLate }: Wait,
  ): Promise<Restored | undefined> {
    const { files, handover, log, monotonicMs, name } = this.#options;
    const { fingerprint, reserved } = life;
    if (fingerprint === undefined) return undefined;
    const startedMs = monotonicMs();
    const head = await files.unseal(file, fingerprint, handover.get(found.id, signal));
    const fetchedMs = monotonicMs();
    // How fast a peer is, the daemon measures.
    if (found.peer === undefined) this.#rates.fetch.saw(found.bytes, fetchedMs - startedMs);
    const slot = slotForRestore(await this.#slots.list(), reserved);
    if (slot === undefined) return this.#refused('busy');
    if (isTooLate()) return this.#refused('too_late');
    reserved.add(slot);
    const moved = await this.#slots.restore(slot, file).catch(() => undefined);
    const isRestored = moved?.tokens === head.tokens;
    if (!isRestored || isTooLate()) {
      reserved.delete(slot);
      if (isRestored) return this.#refused('too_late');
      this.#wasVain(life);
      return this.#refused('refused_by_engine');
    }
    const endedMs = monotonicMs();
    this.#counts.restored(found.bytes, endedMs - startedMs);
    this.#rates.insert.saw(head.payloadBytes, endedMs - fetchedMs);
    const { tokens, bytes, peer } = found;
    const ms = Math.round(endedMs - startedMs);
    const from = peer === undefined ? {} : { from: peer.node, transport: peer.transport };
    log('info', 'saved kv restored', { engine: name, slot, tokens, bytes, ms, ...from });
    return {
      tokens,
      release: () => reserved.delete(slot),
      used: ({ cachedTokens = 0 }) => {
        if (cachedTokens >= tokens / 2) life.vainRestores = 0;
        else {
          this.#refused('unused');
          this.#wasVain(life);
        }
      },
    };
  }

  #wasVain(life: Life): void {
    life.vainRestores += 1;
    if (life.vainRestores < vainRestoresMax) return;
    life.fingerprint = undefined;
    const { log, name } = this.#options;
    log('warn', 'kv does not move', { engine: name, why: 'the engine used nothing of what was restored' });
  }

  async #saveAll(): Promise<void> {
    if (this.#isSaving) return;
    this.#isSaving = true;
    for (let next = this.#saves.pop(); next !== undefined; next = this.#saves.pop()) {
      await this.#save(next).catch((thrown) => {
        this.#refused('failed');
        this.#options.log('warn', 'kv is not saved', { engine: this.#options.name, why: String(thrown) });
      });
    }
    this.#isSaving = false;
  }

  async #save({ digests, usage }: SettledPrompt): Promise<void> {
    const life = this.#life;
    const fingerprint = life?.fingerprint;
    if (fingerprint === undefined || !this.#options.handover.isReady(fingerprint)) return;
    const answered = usage.promptTokens + usage.completionTokens;
    const found = await this.#options.handover.has(fingerprint, digests);
    const lacking = answered * (1 - (found?.blocks ?? 0) / digests.length);
    if (lacking < movedTokensMin) return;
    if (!this.#maySave()) return this.#refused('saved_too_often');
    const startedMs = this.#options.monotonicMs();
    const slot = slotOfAnswer(await this.#slots.list(), answered);
    if (slot === undefined) return this.#refused('not_in_a_slot');
    await this.#options.files.withName(async (file) => {
      const moved = await this.#slots.save(slot, file);
      // Another request took the slot just before, or another engine the place of this one.
      const isOfAnswer = moved !== undefined && isStateOf(moved.tokens, answered) && this.#life === life;
      if (!isOfAnswer) return this.#refused('not_in_a_slot');
      const head = { fingerprint, digests, tokens: moved.tokens, payloadBytes: moved.bytes };
      await this.#put(head, file, startedMs);
    });
  }

  async #put(head: EnvelopeHead, file: string, startedMs: number): Promise<void> {
    const { files, handover, log, monotonicMs, name } = this.#options;
    const { payloadBytes: bytes, tokens } = head;
    if (!fitsEnvelope(bytes) || (await files.bytesOf(file)) !== bytes) return this.#refused('unfit_file');
    await handover.put(head, seal(head, files.read(file)));
    const ms = monotonicMs() - startedMs;
    this.#counts.saved(bytes, ms);
    this.#rates.state.saw(bytes, tokens);
    log('info', 'kv saved', { engine: name, tokens, bytes, ms: Math.round(ms) });
  }

  /** At most so many in any minute. */
  #maySave(): boolean {
    const nowMs = this.#options.monotonicMs();
    this.#savedMs = this.#savedMs.filter((ms) => nowMs - ms < 60_000);
    if (this.#savedMs.length >= savesPerMinuteMax) return false;
    this.#savedMs.push(nowMs);
    return true;
  }
}

/** What comes within that time; undefined: nothing did. */
const within = async <Value>(ms: number, promise: Promise<Value>): Promise<Value | undefined> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};
