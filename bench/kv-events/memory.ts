/**
 * A process that does with a stream of events what the agent does: reads them in sequence, follows blocks, confirms
 * digests of some prompts, and tells a link that listens to nothing. Says how its memory went.
 */

import { ConfirmedDigests } from '@cognitora/node-agent/truth/events/confirmed';
import { RankBlocks } from '@cognitora/node-agent/truth/events/rank-blocks';
import { Subscription } from '@cognitora/node-agent/truth/events/subscription';
import { tokenChain } from '@cognitora/node-agent/truth/events/token-blocks';
import { KvFeeds } from '@cognitora/node-agent/truth/kv-feeds';
import { KvLedger } from '@cognitora/node-agent/truth/kv-ledger';
import type { ReplicaName } from '@cognitora/protocol/ids';
import { plainProfile } from '@cognitora/protocol/prefix/profile';
import { monotonicUs } from '../machine/clock.ts';
import { serveCommands } from '../machine/worker-process.ts';
import { EventStream, type StreamOptions } from './stream.ts';

export interface MemoryRun {
  readonly stream: StreamOptions;
  readonly events: number;
  readonly sampleEvery: number;
  /** One prompt in so many is one that the agent served. */
  readonly learnsEvery: number;
}

export interface MemorySample {
  readonly events: number;
  readonly rssMiB: number;
  readonly heapMiB: number;
}

export interface MemoryAnswer {
  readonly samples: readonly MemorySample[];
  /** The most that was resident at any time, as the kernel kept count: also between two samples. */
  readonly rssMiBMax: number;
  readonly tokens: number;
  /** Of reading and following alone: making the stream is not counted. */
  readonly followedUs: number;
}

/** A digest of 256 bytes stands for four blocks of 16 tokens. */
const blocksPerDigest = 4;

const run = async ({ stream, events, sampleEvery, learnsEvery }: MemoryRun): Promise<MemoryAnswer> => {
  const generated = new EventStream(stream);
  const [ledger, blocks, feeds] = [new KvLedger(), new RankBlocks(), new KvFeeds()];
  const confirmed = new ConfirmedDigests(ledger, (block) => blocks.holds(block));
  const source = { replica: 'r0' as ReplicaName, model: 'm', trust: 'exact', profile: plainProfile } as const;
  feeds.open({ ...source, ledger });
  feeds.linked({ kv: () => {} });
  const subscription = new Subscription({
    replay: async () => [],
    onEvents: (heard) => {
      const { isCleared, held, gone } = blocks.apply(heard);
      if (isCleared) confirmed.cleared();
      for (const block of gone) confirmed.gone(block);
      for (const block of held) confirmed.held(block);
      feeds.changed();
    },
  });
  const samples: MemorySample[] = [];
  let [heard, tokens, followedUs] = [0, 0, 0];
  for (let sequence = 0n; heard < events; sequence += 1n) {
    const { payload, ...batch } = generated.prompt();
    const startedUs = monotonicUs();
    if (sequence % BigInt(learnsEvery) === 0n) {
      const chain = tokenChain(batch.tokens, stream.blockTokens);
      for (let at = blocksPerDigest - 1; at < chain.length; at += blocksPerDigest) {
        confirmed.learn((chain[at] ?? 0n) ^ 1n, chain[at] ?? 0n);
      }
    }
    await subscription.message({ sequence, payload });
    followedUs += monotonicUs() - startedUs;
    tokens += batch.tokens.length;
    if (Math.floor((heard + batch.events) / sampleEvery) > Math.floor(heard / sampleEvery)) {
      const { rss, heapUsed } = process.memoryUsage();
      samples.push({ events: heard + batch.events, rssMiB: rss / 2 ** 20, heapMiB: heapUsed / 2 ** 20 });
    }
    heard += batch.events;
    // Time for what tells the link.
    if (sequence % 64n === 0n) await new Promise((resolve) => setImmediate(resolve));
  }
  feeds.unlinked();
  // In KiB on Linux.
  const rssMiBMax = process.resourceUsage().maxRSS / 1024;
  return { samples, rssMiBMax, tokens, followedUs };
};

serveCommands(run);
