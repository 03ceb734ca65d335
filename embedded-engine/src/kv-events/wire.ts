/**
 * KV events as bytes, in vLLM's shape, and the buffer that answers for missed ones. Pure.
 *
 *   publish: [topic "kv-events", sequence u64 BE, msgpack [ts, [event ...]]]
 *   event:   ["BlockStored", [hash ...], parent | nil, [token ...], block_size, nil, "GPU", nil, extra_keys]
 *            ["BlockRemoved", [hash ...], "GPU"]          ["AllBlocksCleared"]
 *   extra_keys: one entry per hash, nil or what its name depends on beside parent and tokens: [salt] for the
 *            first block of a salted chain
 *   replay:  [client, "", first sequence u64 BE] -> [client, "", sequence, payload] ... [client, "", -1, ""]
 */
import { Packr } from 'msgpackr';
import type { BlockEvent, BlockStored } from './blocks.ts';

export const topic = 'kv-events';
/** vLLM calls the device tier "GPU" whatever the device is; readers know only that word. */
const medium = 'GPU';
const packr = new Packr({ useRecords: false, mapsAsObjects: true });

/** LoRA adapters, which this engine does not have: their number and their name. */
const noLora = null;

/** The salt is hashed into the first block of a chain only: the names of the later ones follow from that. */
function extraKeys({ hashes, parent, salt }: BlockStored): readonly (readonly string[] | null)[] {
  const isSalted = parent === undefined && salt !== '';
  return hashes.map((_, at) => (isSalted && at === 0 ? [salt] : null));
}

function encodeEvent(event: BlockEvent, blockTokens: number): readonly unknown[] {
  switch (event.type) {
    case 'stored':
      return [
        'BlockStored',
        event.hashes,
        event.parent ?? null,
        event.tokens,
        blockTokens,
        noLora,
        medium,
        noLora,
        extraKeys(event),
      ];
    case 'removed':
      return ['BlockRemoved', event.hashes, medium];
    case 'cleared':
      return ['AllBlocksCleared'];
  }
}

/** The third frame. `unixSeconds` is sent as a float even if it happens to be whole. */
export function encodePayload(
  events: readonly BlockEvent[],
  unixSeconds: number,
  blockTokens: number,
): Buffer {
  const body = packr.pack(events.map((event) => encodeEvent(event, blockTokens)));
  const head = Buffer.alloc(10);
  head[0] = 0x92; // an array of two
  head[1] = 0xcb; // a float of 64 bits
  head.writeDoubleBE(unixSeconds, 2);
  return Buffer.concat([head, body]);
}

export function encodeSequence(sequence: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(sequence));
  return bytes;
}

export const replayEnd = encodeSequence(-1n);

/** The sequence number in a replay request, or `undefined` if the frame is not one. */
export function decodeSequence(frame: Uint8Array): bigint | undefined {
  if (frame.length !== 8) return undefined;
  return Buffer.from(frame).readBigUInt64BE();
}

/**
 * The last `stepsMax` payloads, in order. Older ones are forgotten: a reader that needs them starts afresh.
 */
export class ReplayBuffer {
  readonly #stepsMax: number;
  readonly #steps: (Buffer | undefined)[] = [];
  #next = 0;

  constructor(stepsMax: number) {
    this.#stepsMax = stepsMax;
  }

  /** Keeps the payload and returns its sequence number. */
  add(payload: Buffer): number {
    const sequence = this.#next++;
    this.#steps[sequence % this.#stepsMax] = payload;
    return sequence;
  }

  /** Everything that is still here from `first` on. */
  *from(first: bigint): Generator<{ sequence: number; payload: Buffer }> {
    const oldest = Math.max(0, this.#next - this.#stepsMax);
    const start = first > BigInt(oldest) ? (first < BigInt(this.#next) ? Number(first) : this.#next) : oldest;
    for (let sequence = start; sequence < this.#next; sequence++) {
      const payload = this.#steps[sequence % this.#stepsMax];
      if (payload) yield { sequence, payload };
    }
  }
}
