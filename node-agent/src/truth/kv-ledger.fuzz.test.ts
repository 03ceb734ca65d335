import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Digest, digestsOf, KvLedger } from './kv-ledger.ts';

const digest = fc.bigInt({ min: 1n, max: 12n });
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.uniqueArray(digest, { maxLength: 6 }).map((chain) => ({ do: 'add', chain }) as const),
  },
  { weight: 2, arbitrary: digest.map((which) => ({ do: 'remove', which }) as const) },
  { weight: 1, arbitrary: digest.map((which) => ({ do: 'branch', which }) as const) },
  { weight: 1, arbitrary: fc.nat(3).map((blocks) => ({ do: 'evict', blocks }) as const) },
  { weight: 1, arbitrary: fc.constant({ do: 'clear' } as const) },
  { weight: 1, arbitrary: fc.constant({ do: 'settle' } as const) },
  { weight: 3, arbitrary: fc.constant({ do: 'delta' } as const) },
  { weight: 1, arbitrary: fc.constant({ do: 'cut' } as const) },
);

/** Who listens to a ledger: holds what deltas and cuts say, and nothing while it missed one. */
class Listener {
  held = new Set<Digest>();
  sequence = 0;
  isInStep = true;

  take(ledger: KvLedger): void {
    for (let delta = ledger.takeDelta(3); delta !== undefined; delta = ledger.takeDelta(3)) {
      expect(delta.sequence).toBe(this.sequence + 1);
      expect(delta.added.length + delta.removed.length).toBeLessThanOrEqual(6);
      this.sequence = delta.sequence;
      if (delta.isCleared) this.held.clear();
      if (delta.isCleared) this.isInStep = true;
      for (const added of digestsOf(delta.added)) this.held.add(added);
      for (const removed of digestsOf(delta.removed)) this.held.delete(removed);
    }
  }

  load(ledger: KvLedger): void {
    const { sequence, digests } = ledger.cut();
    this.held = new Set(digestsOf(digests));
    this.sequence = sequence;
    this.isInStep = true;
  }
}

const sorted = (digests: Iterable<Digest>): readonly Digest[] => [...digests].sort((a, b) => Number(a - b));
const universe = Array.from({ length: 12 }, (_, at) => BigInt(at + 1));

test('a cut and all deltas after it are always what the ledger holds, and that is never more than its bound', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (steps, bound) => {
      const ledger = new KvLedger(bound);
      const listener = new Listener();
      /** The plain model: who is held, oldest use first. */
      let model: Digest[] = [];
      const parents = new Map<Digest, Digest | undefined>();
      const standsOn = (held: Digest, root: Digest): boolean => {
        const seen = new Set<Digest>();
        let at: Digest | undefined = held;
        // A chain goes on only as far as its blocks are held: who stands on what is gone is known by it alone.
        while (at !== undefined && at !== root && !seen.has(at)) {
          seen.add(at);
          at = model.includes(at) ? parents.get(at) : undefined;
        }
        return at === root;
      };
      for (const [use, each] of steps.entries()) {
        if (each.do === 'add') {
          const used = each.chain.slice(0, bound).reverse();
          model = [...model.filter((held) => !used.includes(held)), ...used];
          model = model.slice(Math.max(0, model.length - bound));
          for (const [at, digest] of each.chain.slice(0, bound).entries()) {
            parents.set(digest, each.chain[at - 1]);
          }
          ledger.add(each.chain, use);
        } else if (each.do === 'remove') {
          model = model.filter((held) => held !== each.which);
          ledger.remove(each.which);
        } else if (each.do === 'branch') {
          ledger.removeBranch(each.which);
          model = model.filter((held) => !standsOn(held, each.which));
        } else if (each.do === 'evict') {
          model = model.slice(each.blocks);
          ledger.evict(each.blocks);
        } else if (each.do === 'clear') {
          model = [];
          ledger.clear();
        } else if (each.do === 'settle') {
          if (ledger.hasChanges) listener.isInStep = false;
          ledger.settle();
          listener.sequence = ledger.sequence;
        } else {
          listener.take(ledger);
          if (each.do === 'cut') listener.load(ledger);
          if (listener.isInStep) expect(sorted(listener.held)).toEqual(sorted(model));
        }
        expect(sorted(universe.filter((held) => ledger.has(held)))).toEqual(sorted(model));
        expect(ledger.size).toBe(model.length);
      }
    }),
    { numRuns: 1000 },
  );
});
