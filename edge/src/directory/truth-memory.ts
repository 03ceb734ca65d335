/**
 * What a node's word on a model was worth, through its redials: a liar does not become honest by dialling again, by
 * leaving out a model for a moment, or by giving its replica another name. Pure: time comes in with each call. Bounded;
 * what was not said again for an hour is forgotten.
 */
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { Truth } from './truth.ts';

/** Replicas that are remembered, by model: 1,000 nodes with four each, 1 KiB of window for each. */
export const truthsRememberedMax = 4_096;
/** Long enough that to wait for it costs a liar more than its lies gained; hosts are repaired within it. */
export const truthMemoryMsMax = 3_600_000;

interface Kept {
  readonly node: NodeId;
  readonly model: string;
  readonly replica: ReplicaName;
  readonly truth: Truth;
  readonly leftAtMs: number;
}

const keyOf = (node: NodeId, model: string, replica: ReplicaName): string =>
  JSON.stringify([node, model, replica]);

export class TruthMemory {
  /** Who left longest ago first. */
  readonly #kept = new Map<string, Kept>();
  /** Keys by node, so that a dial looks at its own node's alone. */
  readonly #keysOf = new Map<NodeId, Set<string>>();

  get size(): number {
    return this.#kept.size;
  }

  /** A replica serves a model no longer. */
  keep(node: NodeId, model: string, replica: ReplicaName, truth: Truth, nowMs: number): void {
    if (!truth.isTold) return;
    const key = keyOf(node, model, replica);
    this.#drop(key);
    this.#kept.set(key, { node, model, replica, truth, leftAtMs: nowMs });
    const keys = this.#keysOf.get(node) ?? new Set();
    this.#keysOf.set(node, keys.add(key));
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > truthsRememberedMax && oldest !== undefined) this.#drop(oldest);
  }

  /**
   * With what a replica begins: where it left off; under a name that is new, with the least that this node's word on
   * that model is worth, of `others` that it serves now and of those that left.
   */
  of(node: NodeId, model: string, replica: ReplicaName, others: Iterable<Truth>, nowMs: number): Truth {
    let share = 1;
    for (const other of others) share = Math.min(share, other.share);
    for (const key of [...(this.#keysOf.get(node) ?? [])]) {
      const kept = this.#kept.get(key);
      if (kept === undefined || kept.model !== model) continue;
      // A clock that was set back makes nothing older.
      const isOld = nowMs - kept.leftAtMs > truthMemoryMsMax;
      if (isOld || kept.replica === replica) this.#drop(key);
      if (isOld) continue;
      if (kept.replica === replica) return kept.truth;
      share = Math.min(share, kept.truth.share);
    }
    return new Truth(share);
  }

  #drop(key: string): void {
    const kept = this.#kept.get(key);
    if (kept === undefined) return;
    this.#kept.delete(key);
    const keys = this.#keysOf.get(kept.node);
    keys?.delete(key);
    if (keys?.size === 0) this.#keysOf.delete(kept.node);
  }
}
