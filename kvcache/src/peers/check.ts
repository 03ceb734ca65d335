/**
 * Whether KV gets from host to host as it is: a value is written here, a peer fetches it into its store and tells
 * its hash, and it is read back from there. Only keys that begin so are fetched because a peer says so, one at a
 * time for each peer, small, and with an end.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { NodeId } from '@cognitora/protocol/ids';
import { FieldReader, parseJsonRecord } from '@cognitora/protocol/shape';
import type { KvStore } from '../store.ts';
import { PeerError } from './codes.ts';
import { checkBytesMax, fetchMsMax } from './limits.ts';
import type { PeerTier } from './peer-tier.ts';

export const checkKeyPrefix = 'doctor:';

/** What the peer found, as it travels. */
export interface CheckOutcome {
  readonly bytes: number;
  readonly sha256: string;
  readonly ms: number;
}

export interface Checked {
  readonly writeMs: number;
  readonly readMs: number;
}

const probeBytes = 256 * 1024;
/** The probe goes by itself, on both hosts. */
const probeMsMax = 30_000;

const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export const parseOutcome = (bytes: Uint8Array): CheckOutcome => {
  const what = "A peer's answer to a check";
  const fields = new FieldReader(parseJsonRecord(bytes, 'protocol_error', what), 'protocol_error', what);
  return {
    bytes: fields.number('bytes', 0, checkBytesMax),
    sha256: fields.string('sha256', 64),
    ms: fields.number('ms', 0, Number.MAX_VALUE),
  };
};

/** Values that are fetched because a peer says so. */
export class Checks {
  readonly #store: KvStore;
  readonly #tier: PeerTier;
  readonly #nowMs: () => number;
  readonly #going = new Set<NodeId>();

  constructor(store: KvStore, tier: PeerTier, nowMs: () => number) {
    this.#store = store;
    this.#tier = tier;
    this.#nowMs = nowMs;
  }

  /** Throws `PeerError`. */
  async fetchFor(node: NodeId, key: string): Promise<CheckOutcome> {
    if (!key.startsWith(checkKeyPrefix) || this.#store.has(key)) throw new PeerError('refused');
    if (this.#going.has(node)) throw new PeerError('busy');
    this.#going.add(node);
    const startedMs = this.#nowMs();
    try {
      const held = await this.#tier.fetch(key, { node, bytesMax: checkBytesMax });
      if (held === undefined) throw new PeerError('missing');
      const outcome = { bytes: held.bytes.length, sha256: sha256Of(held.bytes) };
      held.release();
      return { ...outcome, ms: this.#nowMs() - startedMs };
    } finally {
      this.#going.delete(node);
    }
  }

  /** Throws `PeerError`, `corrupt` where what comes back is not what went. */
  async probe(
    node: NodeId,
    wallMs: number,
    ask: (key: string, msMax: number) => Promise<CheckOutcome>,
  ): Promise<Checked> {
    const key = `${checkKeyPrefix}${randomBytes(12).toString('hex')}`;
    const room = this.#store.reserve(key, probeBytes);
    if (room === undefined) throw new PeerError('no room');
    const bytes = randomBytes(probeBytes);
    bytes.copy(room.bytes);
    room.commit({ expiresAtMs: wallMs + probeMsMax });
    try {
      const { sha256, ms: writeMs } = await ask(key, 2 * fetchMsMax);
      if (sha256 !== sha256Of(bytes)) throw new PeerError('corrupt', 'what the peer got has another hash');
      const startedMs = this.#nowMs();
      const back = await this.#tier.read(node, key, probeBytes);
      if (!back.equals(bytes)) throw new PeerError('corrupt', 'what came back is not what went');
      return { writeMs, readMs: this.#nowMs() - startedMs };
    } finally {
      this.#store.delete(key);
    }
  }
}
