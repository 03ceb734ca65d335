/**
 * Applies events a few blocks at a time, in order, and lets the agent do other things between: an engine may tell of
 * many blocks at once, each of which is hashed. Changes no event's meaning.
 */
import { setImmediate as othersRan } from 'node:timers/promises';
import type { KvEvent } from './wire.ts';

/** One of a single token takes some 27 us: 14 ms together. */
export const sliceBlocks = 512;

const blocksOf = (event: KvEvent): number => (event.type === 'cleared' ? 1 : Math.max(1, event.names.length));

/** An event of many blocks as several of fewer, each of which stands on the one before. */
const partsOf = (event: KvEvent): readonly KvEvent[] => {
  if (event.type === 'cleared' || event.names.length <= sliceBlocks) return [event];
  const parts: KvEvent[] = [];
  for (let at = 0; at < event.names.length; at += sliceBlocks) {
    const names = event.names.slice(at, at + sliceBlocks);
    if (event.type === 'removed') parts.push({ ...event, names });
    else {
      const { blockTokens, parent } = event;
      const tokens = event.tokens.slice(at * blockTokens, (at + sliceBlocks) * blockTokens);
      parts.push({ ...event, names, tokens, parent: at === 0 ? parent : event.names[at - 1] });
    }
  }
  return parts;
};

export class EventSlices {
  /** Of the slice under way, which goes on from one message to the next. */
  #blocks = 0;

  /** Ends early once `isOver`: then what is left does not count. */
  async apply(
    events: Iterable<KvEvent>,
    onEvents: (events: readonly KvEvent[]) => void,
    isOver: () => boolean,
  ): Promise<void> {
    let slice: KvEvent[] = [];
    let isTold = false;
    const tell = (): void => {
      onEvents(slice);
      slice = [];
      isTold = true;
    };
    for (const event of events) {
      for (const part of partsOf(event)) {
        if (this.#blocks + blocksOf(part) > sliceBlocks) {
          if (slice.length > 0) tell();
          this.#blocks = 0;
          await othersRan();
          if (isOver()) return;
        }
        slice.push(part);
        this.#blocks += blocksOf(part);
      }
    }
    // Also one without events: somebody spoke.
    if (slice.length > 0 || !isTold) tell();
  }
}
