/**
 * Feeds against their agents' ledgers over a link that loses, repeats and reorders. A feed that says it is in step has
 * in the map just what its agent held at that sequence; one that is not has nothing there; and on a link that behaves
 * again all come into step with the present.
 */
import type { Epoch } from '@cognitora/protocol/ids';
import { type KvDelta, type KvMark, type KvSnapshotPart, tiers } from '@cognitora/protocol/kv';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Ask, feedsOver } from '../../testing/kv-feeds.ts';
import { digestsOf, KvLedger } from '../../testing/kv-ledger.ts';
import type { OfEpoch } from './kv-feed.ts';
import { snapshotRestMsMax, snapshotSilenceMsMax } from './snapshot-turns.ts';

const replicas = 3;
const digestCount = 12;
const chains = Array.from({ length: digestCount }, (_, index) => digestsOf([index]));
const indices = fc.array(fc.nat(digestCount - 1), { maxLength: 6 });
const replica = fc.nat(replicas - 1);
const place = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat(20) });

const operation = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('change' as const),
      replica,
      tier: fc.constantFrom(...tiers),
      added: indices,
      removed: indices,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), replica, added: indices }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('reconnect' as const), replica, isOpened: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('mark' as const), replica }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      place,
      perPart: fc.integer({ min: 1, max: 8 }),
    }),
  },
  { weight: 24, arbitrary: fc.record({ kind: fc.constant('deliver' as const), place }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('repeat' as const), place }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('lose' as const), place }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('miss' as const), place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      forwardMs: fc.constantFrom(0, 500, snapshotSilenceMsMax),
    }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never;

type Message =
  | { readonly kind: 'delta'; readonly of: number; readonly says: OfEpoch<KvDelta> }
  | { readonly kind: 'mark'; readonly of: number; readonly says: OfEpoch<KvMark> }
  | { readonly kind: 'part'; readonly of: number; readonly says: OfEpoch<KvSnapshotPart> };

class World {
  readonly link: Message[] = [];
  readonly ledgers = Array.from({ length: replicas }, () => new KvLedger());
  readonly #over = feedsOver(24 * 400, replicas);
  readonly map = this.#over.map;
  readonly turns = this.#over.turns;
  readonly asks = this.#over.asks;
  readonly feeds = this.#over.feeds;
  nowMs = 0;
  /** The latest that was heard of each ledger, by replica and epoch. */
  readonly #heard = new Map<string, number>();

  constructor() {
    for (const feed of this.feeds) feed.open(1 as Epoch, 0);
  }

  deliver({ kind, of, says }: Message): void {
    const feed = this.feeds[of];
    const about = `${of} ${says.epoch}`;
    this.#heard.set(about, Math.max(says.sequence, this.#heard.get(about) ?? 0));
    if (kind === 'delta') feed?.delta(says, this.nowMs);
    else if (kind === 'mark') feed?.mark(says, this.nowMs);
    else feed?.snapshotPart(says, this.nowMs);
  }

  /** A request that reached the agent over a link that is gone gets no answer. */
  answer(ask: Ask | undefined, perPart: number): void {
    const ledger = this.ledgers[ask?.of ?? 0];
    if (ask === undefined || ledger === undefined || ledger.epoch !== ask.epoch) return;
    for (const says of ledger.snapshot(ask.request, perPart))
      this.link.push({ kind: 'part', of: ask.of, says });
  }

  apply(next: Operation): void {
    const of = 'replica' in next ? next.replica : 0;
    const ledger = this.ledgers[of];
    if (ledger === undefined) return;
    const at = 'place' in next ? next.place : 0;
    if (next.kind === 'change') {
      const says = ledger.change(next.tier, next.added, next.removed);
      this.link.push({ kind: 'delta', of, says });
    } else if (next.kind === 'clear') {
      this.link.push({ kind: 'delta', of, says: ledger.change('device', next.added, [], true) });
    } else if (next.kind === 'reconnect') {
      ledger.reconnect();
      if (next.isOpened) this.feeds[of]?.open(ledger.epoch, this.nowMs);
    } else if (next.kind === 'mark') this.link.push({ kind: 'mark', of, says: ledger.mark() });
    else if (next.kind === 'answer') this.answer(this.asks.splice(at, 1)[0], next.perPart);
    else if (next.kind === 'lose') this.link.splice(at, 1);
    else if (next.kind === 'wait') {
      this.nowMs += next.forwardMs;
      this.turns.sweep(this.nowMs);
    } else {
      const message = this.link[at % Math.max(1, this.link.length)];
      if (message === undefined) return;
      if (next.kind !== 'repeat') this.link.splice(at % this.link.length, 1);
      if (next.kind === 'miss') this.feeds[message.of]?.missed(this.nowMs);
      else this.deliver(message);
    }
  }

  /** What the map says each slot holds, block by block; of the host tier only where the device does not hide it. */
  claims(): Set<string>[] {
    const claims = Array.from({ length: 64 }, () => new Set<string>());
    for (const [index, chain] of chains.entries()) {
      const { device, held } = this.map.match({ chain, blocks: 1, eligibleLo: -1, eligibleHi: -1, nowMs: 0 });
      for (const [slot, claimed] of claims.entries()) {
        if (device[slot] === 1) claimed.add(`device ${index}`);
        else if (held[slot] === 1) claimed.add(`host ${index}`);
      }
    }
    return claims;
  }

  check(): void {
    const slots = this.feeds.map(({ slot }) => slot);
    expect(new Set(slots).size).toBe(replicas);
    const allClaims = this.claims();
    for (const [of, feed] of this.feeds.entries()) {
      const claims = allClaims[feed.slot ?? 64];
      if (!feed.isInStep) {
        expect(claims).toEqual(new Set());
        continue;
      }
      expect(feed.sequence).toBeGreaterThanOrEqual(this.#heard.get(`${of} ${feed.epoch}`) ?? 0);
      const held = this.ledgers[of]?.heldAt(feed.epoch as Epoch, feed.sequence);
      const seen = [...(held ?? [])].filter(
        (has) => !held?.has(has.replace('host', 'device')) || has[0] === 'd',
      );
      expect(claims).toEqual(new Set(seen));
      const slot = feed.slot;
      if (slot === undefined || held === undefined) throw new Error('in step with nothing');
      const counts = tiers.map((tier) => this.map.blocksOf(slot, tier));
      expect(counts).toEqual(tiers.map((tier) => [...held].filter((has) => has.startsWith(tier)).length));
    }
  }
}

const run = (operations: readonly Operation[]): void => {
  const world = new World();
  for (const next of operations) {
    world.apply(next);
    world.check();
  }
  for (let round = 0; round < 6; round += 1) {
    for (const [of, ledger] of world.ledgers.entries()) {
      world.link.push({ kind: 'mark', of, says: ledger.mark() });
    }
    while (world.link.length + world.asks.length > 0) {
      for (const ask of world.asks.splice(0)) world.answer(ask, 3);
      const message = world.link.shift();
      if (message !== undefined) world.deliver(message);
    }
    world.nowMs += snapshotRestMsMax;
    world.turns.sweep(world.nowMs);
    world.check();
  }
  for (const [of, feed] of world.feeds.entries()) {
    expect(feed.state).toBe('in-step');
    expect(feed.sequence).toBe(world.ledgers[of]?.sequence);
  }
};

test('in step means equal, blind means silent, and a link that behaves again brings all into step', () => {
  fc.assert(fc.property(fc.array(operation, { maxLength: 120, size: 'max' }), run), { numRuns: 200 });
});
