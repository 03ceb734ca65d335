import { describe, expect, test, vi } from 'vitest';
import { KvLedger } from './kv-ledger.ts';

const chain = (...digests: number[]): readonly bigint[] => digests.map(BigInt);
const told = (ledger: KvLedger) => {
  const delta = ledger.takeDelta();
  return delta && { ...delta, added: [...delta.added], removed: [...delta.removed] };
};

describe('a ledger', () => {
  test('tells digests as pairs of low and high word, the deepest block of a chain first', () => {
    const ledger = new KvLedger();
    ledger.add([0x1_0000_0002n, 3n], 1);
    expect(told(ledger)).toEqual({ sequence: 1, isCleared: false, added: [3, 0, 2, 1], removed: [] });
    expect(told(ledger)).toBeUndefined();
  });

  test('says nothing of what came and went, or went and came, between two deltas', () => {
    const ledger = new KvLedger();
    ledger.add(chain(1), 1);
    ledger.takeDelta();
    ledger.remove(1n);
    ledger.add(chain(1), 2);
    ledger.add(chain(2), 3);
    ledger.remove(2n);
    expect(ledger.hasChanges).toBe(false);
    expect(ledger.sequence).toBe(1);
  });

  test('drops the end of the chain that was not used for longest', () => {
    const ledger = new KvLedger(4);
    ledger.add(chain(1, 2, 3), 1);
    ledger.add(chain(1, 4), 2);
    ledger.add(chain(5), 3);
    expect([ledger.heldOf(chain(1, 2, 3)), ledger.heldOf(chain(1, 4)), ledger.heldOf(chain(5))]).toEqual([
      2, 2, 1,
    ]);
  });

  test('of a chain longer than its bound holds the head', () => {
    const ledger = new KvLedger(2);
    ledger.add(chain(1, 2, 3), 1);
    expect([ledger.size, ledger.heldOf(chain(1, 2, 3))]).toEqual([2, 2]);
  });

  test('loses a block with all that stand on it, and nothing else', () => {
    const ledger = new KvLedger();
    ledger.add(chain(1, 2, 3), 1);
    ledger.add(chain(1, 2, 4, 5), 2);
    ledger.add(chain(1, 6), 3);
    ledger.removeBranch(2n);
    expect([1n, 2n, 3n, 4n, 5n, 6n].filter((digest) => ledger.has(digest))).toEqual([1n, 6n]);
  });

  test('loses a branch without a look at all that it holds', () => {
    const ledger = new KvLedger();
    for (let first = 1; first < 1_000; first += 2) ledger.add(chain(first, first + 1), first);
    const walks = [vi.spyOn(Map.prototype, 'keys'), vi.spyOn(Map.prototype, 'entries')];
    ledger.removeBranch(1n);
    const walked = walks.map(({ mock }) => mock.calls.length);
    for (const walk of walks) walk.mockRestore();
    expect(walked).toEqual([0, 0]);
    expect([ledger.has(1n), ledger.has(2n), ledger.size]).toEqual([false, false, 998]);
  });

  test('that was cleared says so once, with what it held since', () => {
    const ledger = new KvLedger();
    ledger.add(chain(1), 1);
    ledger.takeDelta();
    ledger.clear();
    ledger.add(chain(2), 2);
    expect(told(ledger)).toEqual({ sequence: 2, isCleared: true, added: [2, 0], removed: [] });
    ledger.add(chain(3), 3);
    expect(told(ledger)).toMatchObject({ sequence: 3, isCleared: false });
  });

  test('is cut only where a delta has told all', () => {
    const ledger = new KvLedger();
    ledger.add(chain(1, 2), 1);
    expect(() => ledger.cut()).toThrow('no delta has told');
    ledger.settle();
    const { sequence, digests } = ledger.cut();
    expect([sequence, [...digests]]).toEqual([1, [1, 0, 2, 0]]);
  });
});
