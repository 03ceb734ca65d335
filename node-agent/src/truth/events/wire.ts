/**
 * KV events as engines publish them over ZeroMQ: msgpack, one batch a message. Decodes tolerantly, because the format
 * grows: the batch and each event may be an array by position, shorter or longer than known, or a map by name. What is
 * not understood is left out.
 *
 *   batch   [time, [event ...], rank?] | {events: [event ...]}
 *   event   ["BlockStored", hashes, parent, tokens, block size, lora id, medium, lora name, extra keys, group, kind]
 *           ["BlockRemoved", hashes, medium, group]     ["AllBlocksCleared"]     or {type: ..., by name}
 */
import { isRecord } from '@cognitora/protocol/shape';
import { Unpackr } from 'msgpackr';

/** An engine's own name of a block, as a text that is equal when the names are. */
export type BlockName = string;

/** Where a block lies: an engine may hold the same one in several places, and removes it from each by itself. */
export interface Place {
  /** `GPU` unless the engine says else. */
  readonly medium: string;
  /** Of layers that are cached alike; undefined where the engine has only one, or does not say. */
  readonly group: number | undefined;
}

export type KvEvent =
  | {
      readonly type: 'stored';
      readonly names: readonly BlockName[];
      readonly parent: BlockName | undefined;
      /** Empty where only names are told: of blocks that were told with their tokens before. */
      readonly tokens: readonly number[];
      readonly blockTokens: number;
      /** Nothing but tokens went into it: no adapter, no image, no salt. */
      readonly isPlain: boolean;
      readonly place: Place;
    }
  | { readonly type: 'removed'; readonly names: readonly BlockName[]; readonly place: Place }
  | { readonly type: 'cleared' };

/** The medium that needs no transfer before a prompt goes on. */
export const deviceMedium = 'GPU';

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
  group_idx: 9,
  kv_cache_spec_kind: 10,
};
const positionsOfRemoval: Readonly<Record<string, number>> = { block_hashes: 1, medium: 2, group_idx: 3 };
/** Layers whose blocks stand for all tokens before them. Others keep a window, or a state, and say little alone. */
const wholeKinds: readonly unknown[] = [
  ...[undefined, null, 'unknown'],
  ...['full_attention', 'mla_attention', 'sink_full_attention'],
];

/** Names are digests, of 32 bytes at most where they are bytes. */
const nameBytesMax = 64;
/** Of one message, as many events and blocks of all of them: a million tokens in blocks of 16. */
export const messageBlocksMax = 65_536;
export const messageTokensMax = 16 * messageBlocksMax;

const nameOf = (value: unknown): BlockName | undefined => {
  if (value instanceof Uint8Array) {
    return value.length > nameBytesMax ? undefined : Buffer.from(value).toString('hex');
  }
  if (typeof value === 'bigint') return String(BigInt.asUintN(64, value));
  return typeof value === 'number' && Number.isSafeInteger(value)
    ? String(BigInt.asUintN(64, BigInt(value)))
    : undefined;
};

const namesIn = (value: unknown): readonly BlockName[] =>
  Array.isArray(value) ? value.map(nameOf).filter((name) => name !== undefined) : [];

const isAbsent = (value: unknown): boolean =>
  value === undefined || value === null || (Array.isArray(value) && value.every(isAbsent));

const tokenOf = (value: unknown): number | undefined => {
  const token = typeof value === 'bigint' ? Number(value) : value;
  return typeof token === 'number' && Number.isSafeInteger(token) && token >= 0 ? token : undefined;
};

type Field = (name: string) => unknown;

const placeOf = (field: Field): Place => {
  const [medium, group] = [field('medium'), field('group_idx')];
  return {
    medium: typeof medium === 'string' ? medium : deviceMedium,
    group: typeof group === 'number' ? group : undefined,
  };
};

const typeOf = (event: unknown): unknown =>
  Array.isArray(event) ? event[0] : isRecord(event) ? event.type : undefined;

const fieldsOf = (event: unknown): Field => {
  const listed: readonly unknown[] | undefined = Array.isArray(event) ? event : undefined;
  const named = isRecord(event) ? event : {};
  const places = typeOf(event) === 'BlockRemoved' ? positionsOfRemoval : positions;
  return (name) => (listed === undefined ? named[name] : listed[places[name] ?? listed.length]);
};

/** Undefined: it says nothing of what this engine holds, or is not understood. */
const readEvent = (event: unknown): KvEvent | undefined => {
  const type = typeOf(event);
  if (type === 'AllBlocksCleared') return { type: 'cleared' };
  const field = fieldsOf(event);
  // Of a store that hosts share others tell, and whoever is asked has to fetch it first.
  if (field('locality') === 'REMOTE') return undefined;
  if (type === 'BlockRemoved') {
    return { type: 'removed', names: namesIn(field('block_hashes')), place: placeOf(field) };
  }
  return type === 'BlockStored' ? readStored(field) : undefined;
};

const readStored = (field: Field): KvEvent | undefined => {
  const names = namesIn(field('block_hashes'));
  const [listed, blockTokens] = [field('token_ids'), field('block_size')];
  if (!Array.isArray(listed) || typeof blockTokens !== 'number') return undefined;
  const tokens = listed.map(tokenOf).filter((token) => token !== undefined);
  if (tokens.length < listed.length) return undefined;
  if (!wholeKinds.includes(field('kv_cache_spec_kind'))) return undefined;
  // A name that is not understood would shift the others against their tokens.
  const isSize = Number.isSafeInteger(blockTokens) && blockTokens >= 1;
  const isWhole = isSize && names.length * blockTokens === tokens.length;
  if (!isWhole && tokens.length > 0) return undefined;
  return {
    type: 'stored',
    names,
    parent: nameOf(field('parent_block_hash')),
    tokens,
    blockTokens,
    isPlain: ['lora_id', 'lora_name', 'extra_keys'].every((name) => isAbsent(field(name))),
    place: placeOf(field),
  };
};

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0);

/** Before anything is read: how many blocks and tokens it names. */
const isBounded = (events: readonly unknown[]): boolean => {
  let [blocks, tokens] = [0, 0];
  for (const event of events) {
    const field = fieldsOf(event);
    blocks += lengthOf(field('block_hashes'));
    tokens += lengthOf(field('token_ids'));
  }
  return Math.max(events.length, blocks) <= messageBlocksMax && tokens <= messageTokensMax;
};

function* eventsIn(listed: readonly unknown[]): Generator<KvEvent> {
  for (const each of listed) {
    const event = readEvent(each);
    if (event !== undefined) yield event;
  }
}

/**
 * The events of one message, each read when it is its turn; undefined when it is no batch of events, or one of more
 * than is followed.
 */
export const decodeKvEvents = (payload: Uint8Array): Iterable<KvEvent> | undefined => {
  let batch: unknown;
  try {
    batch = unpackr.unpack(payload);
  } catch {
    return undefined;
  }
  const events: unknown = Array.isArray(batch) ? batch[1] : isRecord(batch) ? batch.events : undefined;
  return Array.isArray(events) && isBounded(events) ? eventsIn(events) : undefined;
};
