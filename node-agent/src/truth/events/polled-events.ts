/**
 * KV events that an engine keeps until it is asked for them: a list of `{event_id, data}` as JSON, each told once.
 * Decodes tolerantly: what is not understood is left out. Blocks are named by numbers that JSON's parser rounds, which
 * still tells them apart.
 *
 *   data   {type: "created", ...} | {type: "removed", block_hashes}
 *          {type: "stored", parent_hash, blocks: [{block_hash, tokens: [{token_id}], cache_level}]}
 *          {type: "updated", block_hash, cache_level: {old_value, new_value}}
 */
import { isRecord } from '@cognitora/protocol/shape';
import { type BlockName, deviceMedium, type KvEvent, type Place } from './wire.ts';

export interface PolledEvent {
  readonly id: number;
  /** Of the engine's processes that cache by themselves. */
  readonly rank: number;
  readonly events: readonly KvEvent[];
}

/** By the engine's number of the level: the first is the device's memory. */
const media = [deviceMedium, 'CPU'] as const;

interface Block {
  readonly name: BlockName;
  readonly tokens: readonly number[];
  readonly isPlain: boolean;
  readonly medium: string;
}

const nameOf = (value: unknown): BlockName | undefined =>
  typeof value === 'number' || typeof value === 'string' ? String(value) : undefined;

const mediumOf = (level: unknown): string | undefined =>
  typeof level === 'number' ? media[level] : deviceMedium;

const blockIn = (value: unknown): Block | undefined => {
  if (!isRecord(value) || !Array.isArray(value.tokens)) return undefined;
  const [name, medium] = [nameOf(value.block_hash), mediumOf(value.cache_level)];
  if (name === undefined || medium === undefined) return undefined;
  const listed: readonly unknown[] = value.tokens;
  const tokens = listed.filter(isRecord);
  const ids = tokens.map(({ token_id }) => token_id).filter((id) => typeof id === 'number');
  if (ids.length !== listed.length) return undefined;
  // An image's tokens have a number of their own beside what stands for them; adapters are told by a name.
  const isPlain =
    tokens.every(({ token_extra_id }) => token_extra_id === undefined || token_extra_id === 0) &&
    (value.lora_id === undefined || value.lora_id === null);
  return { name, tokens: ids, isPlain, medium };
};

/** The blocks of one event stand on each other. A last one that is not full ends them: nothing stands on it. */
const storedIn = (data: Readonly<Record<string, unknown>>, group: Place['group']): readonly KvEvent[] => {
  const listed: readonly unknown[] = Array.isArray(data.blocks) ? data.blocks : [];
  const events: KvEvent[] = [];
  let parent = nameOf(data.parent_hash);
  let isPlain = true;
  for (const block of listed.map(blockIn)) {
    if (block === undefined) break;
    const { name, tokens, medium } = block;
    isPlain &&= block.isPlain;
    const place = { medium, group };
    const blockTokens = tokens.length;
    events.push({ type: 'stored', names: [name], parent, tokens, blockTokens, isPlain, place });
    parent = name;
  }
  return events;
};

const updatedIn = (data: Readonly<Record<string, unknown>>, group: Place['group']): readonly KvEvent[] => {
  const [name, level] = [nameOf(data.block_hash), data.cache_level];
  if (name === undefined || !isRecord(level) || level.new_value === level.old_value) return [];
  const [from, to] = [mediumOf(level.old_value), mediumOf(level.new_value)];
  // First where it is now, so that it is not forgotten between.
  const stored: readonly KvEvent[] =
    to === undefined
      ? []
      : [
          {
            ...{ type: 'stored', names: [name], parent: undefined, tokens: [], blockTokens: 0 },
            ...{ isPlain: true, place: { medium: to, group } },
          },
        ];
  if (from === undefined) return stored;
  return [...stored, { type: 'removed', names: [name], place: { medium: from, group } }];
};

const eventsIn = (data: unknown, group: Place['group']): readonly KvEvent[] => {
  if (!isRecord(data)) return [];
  if (data.type === 'stored') return storedIn(data, group);
  if (data.type === 'updated') return updatedIn(data, group);
  if (data.type !== 'removed' || !Array.isArray(data.block_hashes)) return [];
  const names = data.block_hashes.map(nameOf).filter((name) => name !== undefined);
  // It does not say from which level.
  return media.map((medium) => ({ type: 'removed', names, place: { medium, group } }));
};

/** The events of one answer; undefined when it is none. */
export const decodePolledEvents = (answer: unknown): readonly PolledEvent[] | undefined => {
  if (!Array.isArray(answer)) return undefined;
  return answer.filter(isRecord).flatMap(({ event_id: id, data, window_size, attention_dp_rank: rank }) => {
    if (typeof id !== 'number') return [];
    const group = typeof window_size === 'number' ? window_size : undefined;
    return [{ id, rank: typeof rank === 'number' ? rank : 0, events: eventsIn(data, group) }];
  });
};
