/** For tests: feeds that write to one map, and what they ask for. Only tests import it. */
import type { Epoch } from '@cognitora/protocol/ids';
import { KvFeed } from '../src/directory/kv-feed.ts';
import { PrefixMap } from '../src/directory/prefix-map.ts';
import { SnapshotTurns } from '../src/directory/snapshot-turns.ts';

/** A feed, by its place, asks for a snapshot. */
export interface Ask {
  readonly of: number;
  readonly epoch: Epoch;
  readonly request: number;
}

export const feedsOver = (bytesMax: number, count: number) => {
  const map = new PrefixMap({ bytesMax, secret: 5 });
  const turns = new SnapshotTurns();
  const asks: Ask[] = [];
  const cleared: number[] = [];
  let request = 0;
  const feeds = Array.from({ length: count }, (_, of) => {
    const ask = (epoch: Epoch): number => {
      request += 1;
      asks.push({ of, epoch, request });
      return request;
    };
    return new KvFeed({ store: map, turns, ask, onCleared: () => cleared.push(of) });
  });
  return { map, turns, asks, cleared, feeds };
};
