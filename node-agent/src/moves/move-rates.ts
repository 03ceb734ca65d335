/**
 * How fast this host fetches saved KV, how fast its engine takes it in and how fast it computes a prompt, and so
 * whether a restore is quicker than computing anew. Pure. Each speed follows what was seen; until then a stated guess
 * stands.
 */

import type { PeerReach } from '@cognitora/protocol/kv-daemon';
import { prefixBlockBytesDefault } from '@cognitora/protocol/limits';

/** Old measurements count for less with each new one. */
const memory = 0.8;

/** Units per millisecond, or per token, as sums of what was seen, so that long measurements count for more. */
class Rate {
  #units: number;
  #ms: number;
  #isGuess = true;

  constructor(priorUnits: number, priorMs: number) {
    this.#units = priorUnits;
    this.#ms = priorMs;
  }

  saw(units: number, ms: number): void {
    if (!(units > 0 && ms > 0)) return;
    const kept = this.#isGuess ? 0 : memory;
    this.#units = this.#units * kept + units;
    this.#ms = this.#ms * kept + ms;
    this.#isGuess = false;
  }

  msFor(units: number): number {
    return (units * this.#ms) / this.#units;
  }

  get perMs(): number {
    return this.#units / this.#ms;
  }
}

/** A hand-over that is near and answers later is none to wait for. */
const lookMsMax = 500;
/** A connection, who holds the prompt, and what. */
const lookRoundTrips = 4;
/** Of prompts whose tokens nobody counted yet: about four bytes each. */
const blockTokens = prefixBlockBytesDefault / 4;

/** Questions to the engine and the renaming of files, whatever their size. */
const overheadMs = 10;

export interface Move {
  readonly bytes: number;
  readonly tokens: number;
  /** Restores that come first. */
  readonly ahead: number;
  /** Where it is fetched from, if not as what was fetched before. */
  readonly peer: Pick<PeerReach, 'rttMs' | 'bytesPerMs'> | undefined;
  /** What takes longer is not waited for. */
  readonly msMax: number;
}

/** Its first bytes take a round trip. */
const msFrom = ({ rttMs, bytesPerMs }: Pick<PeerReach, 'rttMs' | 'bytesPerMs'>, bytes: number): number =>
  bytesPerMs > 0 ? rttMs + bytes / bytesPerMs : Number.POSITIVE_INFINITY;

export class MoveRates {
  /** Bytes of envelopes; prior: a network of one gigabit. */
  readonly fetch = new Rate(1_000_000, 8);
  /** Bytes of states; prior: a disk. */
  readonly insert = new Rate(1_000_000, 2);
  /** Tokens; prior: a GPU, for which little is worth moving. */
  readonly prefill = new Rate(4_000, 1_000);

  /** Of a state's bytes, the tokens that they are of; prior: a model of some billion parameters. */
  readonly state = new Rate(100_000, 1);

  /** How long an answer is waited for: of a far peer as long as it takes there, if computing takes that long, too. */
  lookMsMax(blocks: number, rttMs: number): number {
    const farMs = lookMsMax + lookRoundTrips * rttMs;
    return this.prefill.msFor(blocks * blockTokens) > farMs ? farMs : lookMsMax;
  }

  isWorthMoving({ bytes, tokens, ahead, peer, msMax }: Move): boolean {
    const fetchMs = peer === undefined ? this.fetch.msFor(bytes) : msFrom(peer, bytes);
    const moveMs = (ahead + 1) * (overheadMs + fetchMs + this.insert.msFor(bytes));
    return moveMs < Math.min(msMax, this.prefill.msFor(tokens));
  }
}
