/**
 * KV events as engines publish them over ZeroMQ: msgpack, one batch a message. Decodes tolerantly, because the format
 * grows: the batch and each event may be an array by position, shorter or longer than known, or a map by name. What is
 * not understood is left out.
 *
 *   batch   [time, [event ...], rank?] | {events: [event ...]}
 *   event   ["BlockStored", hashes, parent, tokens, block size, lora id, medium, lora name, extra keys] | {type: ...}
 *           ["BlockRemoved", hashes, medium]     ["AllBlocksCleared"]
 */
import { isRecord } from '@cognitora/protocol/shape';
import { Unpackr } from 'msgpackr';

/** An engine's own name of a block, as a text that is equal when the names are. */
export type BlockName = string;

export type KvEvent =
  | {
      readonly type: 'stored';
      readonly names: readonly BlockName[];
      readonly parent: BlockName | undefined;
      readonly tokens: readonly number[];
      readonly blockTokens: number;
      /** Nothing but tokens went into it: no adapter, no image, no salt. */
      readonly isPlain: boolean;
      readonly isOnDevice: boolean;
    }
  | { readonly type: 'removed'; readonly names: readonly BlockName[]; readonly isOnDevice: boolean }
  | { readonly type: 'cleared' };

const unpackr = new Unpackr({ int64AsType: 'bigint', useRecords: false, mapsAsObjects: true });

/** Where each field stands in an event that is an array, after its type. */
const positions: Readonly<Record<string, number>> = {
  block_hashes: 1,
  parent_block_hash: 2,
  token_ids: 3,
  block_size: 4,
  lora_id: 5,
  medium: 6,
  lora_name: 7,
  extra_keys: 8,
};
/** Removals have their medium second. */
const removedMedium = 2;
const deviceNames: readonly unknown[] = ['GPU', undefined, null];

const nameOf = (value: unknown): BlockName | undefined => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (typeof value === 'bigint') return String(BigInt.asUintN(64, value));
  return typeof value === 'number' && Number.isSafeInteger(value)
    ? String(BigInt.asUintN(64, BigInt(value)))
    : undefined;
};

const namesIn = (value: unknown): readonly BlockName[] =>
  Array.isArray(value) ? value.map(nameOf).filter((name) => name !== undefined) : [];

const isAbsent = (value: unknown): boolean =>
  value === undefined || value === null || (Array.isArray(value) && value.every(isAbsent));

const readEvent = (event: unknown): KvEvent | undefined => {
  const listed: readonly unknown[] | undefined = Array.isArray(event) ? event : undefined;
  const named = isRecord(event) ? event : {};
  const field = (name: string): unknown =>
    listed === undefined ? named[name] : listed[positions[name] ?? 0];
  const type = listed === undefined ? named.type : listed[0];
  if (type === 'AllBlocksCleared') return { type: 'cleared' };
  const names = namesIn(field('block_hashes'));
  if (type === 'BlockRemoved') {
    const medium = listed === undefined ? named.medium : listed[removedMedium];
    return { type: 'removed', names, isOnDevice: deviceNames.includes(medium) };
  }
  const [tokens, blockTokens] = [field('token_ids'), field('block_size')];
  if (type !== 'BlockStored' || !Array.isArray(tokens) || typeof blockTokens !== 'number') return undefined;
  // A name that is not understood would shift the others against their tokens.
  if (names.length * blockTokens !== tokens.length || blockTokens < 1) return undefined;
  return {
    type: 'stored',
    names,
    parent: nameOf(field('parent_block_hash')),
    tokens: tokens.map(Number),
    blockTokens,
    isPlain: ['lora_id', 'lora_name', 'extra_keys'].every((name) => isAbsent(field(name))),
    isOnDevice: deviceNames.includes(field('medium')),
  };
};

/** The events of one message; undefined when it is no batch of events. */
export const decodeKvEvents = (payload: Uint8Array): readonly KvEvent[] | undefined => {
  let batch: unknown;
  try {
    batch = unpackr.unpack(payload);
  } catch {
    return undefined;
  }
  const events = Array.isArray(batch) ? batch[1] : isRecord(batch) ? batch.events : undefined;
  if (!Array.isArray(events)) return undefined;
  return events.map(readEvent).filter((event) => event !== undefined);
};
