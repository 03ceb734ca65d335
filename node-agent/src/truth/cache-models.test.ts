import { describe, expect, test } from 'vitest';
import type { Run } from './cache-model.ts';
import { KvLedger } from './kv-ledger.ts';
import { PagedCache } from './paged-cache.ts';
import { SlotCache } from './slot-cache.ts';

const chain = (text: string): readonly bigint[] =>
  [...text].map((letter) => BigInt(letter.codePointAt(0) ?? 0));
const letters = 'abcdefghijklmnopqrstuvwxyz';
const held = ({ ledger }: Run): string =>
  [...letters].filter((letter) => ledger.has(chain(letter)[0] ?? 0n)).join('');
const runOn = (ledger: KvLedger): Run => ({ ledger });

describe('pages', () => {
  test('keep what was used last, as far as tokens go', () => {
    const run = runOn(new KvLedger());
    const cache = new PagedCache(400, 100);
    cache.hold(run, chain('abc'));
    cache.hold(run, chain('abd'));
    cache.hold(run, chain('e'));
    expect(held(run)).toBe('abde');
  });

  test('are shared by the models of a replica', () => {
    const [one, other] = [runOn(new KvLedger()), runOn(new KvLedger())];
    const cache = new PagedCache(400, 100);
    cache.hold(one, chain('abc'));
    cache.hold(other, chain('xyz'));
    expect([held(one), held(other)]).toEqual(['a', 'xyz']);
    cache.hold(one, chain('abcd'));
    expect([held(one), held(other)]).toEqual(['abcd', '']);
    cache.forget(one.ledger);
    cache.hold(other, chain('wxyz'));
    expect(held(other)).toBe('wxyz');
  });

  test('hold fewer blocks when blocks turn out to be more tokens', () => {
    const run = runOn(new KvLedger());
    const cache = new PagedCache(400, 100);
    for (let prompt = 0; prompt < 100; prompt += 1) cache.learn(200);
    cache.hold(run, chain('abc'));
    expect(held(run)).toBe('ab');
  });

  test.each([
    ['a guess is at least what the engine had', true, 'abcdef'],
    ['what the engine told of its room stays', false, 'abcd'],
  ])('%s', (_, isGuess, expected) => {
    const run = runOn(new KvLedger());
    const cache = new PagedCache(400, 100, isGuess);
    cache.had(600);
    cache.had(300);
    cache.hold(run, chain('abcdefgh'));
    expect(held(run)).toBe(expected);
  });

  test('lose what stands on a block that the engine did not have', () => {
    const run = runOn(new KvLedger());
    const cache = new PagedCache(1000, 100);
    cache.hold(run, chain('abc'));
    cache.hold(run, chain('abd'));
    cache.lost(run, chain('b')[0] ?? 0n);
    expect(held(run)).toBe('a');
  });
});

describe('slots', () => {
  test('keep one prompt each: a request takes the free slot that shares most, and overwrites it', () => {
    const ledger = new KvLedger();
    const cache = new SlotCache(2);
    const serve = (text: string): void => {
      const run = runOn(ledger);
      cache.hold(run, chain(text));
      cache.release(run);
    };
    serve('abcd');
    serve('ef');
    serve('abx');
    expect(held({ ledger })).toBe('abefx');
    serve('yz');
    expect(held({ ledger })).toBe('abxyz');
    serve('yzw');
    expect(held({ ledger })).toBe('abwxyz');
  });

  test('a prompt without a whole block takes a slot as well', () => {
    const ledger = new KvLedger();
    const cache = new SlotCache(1);
    cache.hold(runOn(ledger), chain('ab'));
    cache.hold(runOn(ledger), chain(''));
    expect(held({ ledger })).toBe('');
  });

  test('a slot in use is not taken, and a request stays in its own', () => {
    const ledger = new KvLedger();
    const cache = new SlotCache(2);
    const [one, other] = [runOn(ledger), runOn(ledger)];
    cache.hold(one, chain('ab'));
    cache.hold(other, chain('abc'));
    cache.hold(one, chain('abx'));
    cache.hold(other, chain('abcd'));
    expect(held({ ledger })).toBe('abcdx');
    cache.release(other);
    cache.hold(runOn(ledger), chain('abxy'));
    expect(held({ ledger })).toBe('abxy');
  });

  test('a block in two slots stays until both have lost it', () => {
    const ledger = new KvLedger();
    const cache = new SlotCache(2);
    const [one, other] = [runOn(ledger), runOn(ledger)];
    cache.hold(one, chain('ab'));
    cache.hold(other, chain('ac'));
    cache.hold(one, chain('x'));
    expect(held({ ledger })).toBe('acx');
    cache.hold(other, chain('y'));
    expect(held({ ledger })).toBe('xy');
  });

  test('what the engine did not have is in no slot but the one that just computed it', () => {
    const ledger = new KvLedger();
    const cache = new SlotCache(2);
    const [one, other] = [runOn(ledger), runOn(ledger)];
    cache.hold(one, chain('abc'));
    cache.hold(other, chain('abd'));
    cache.lost(other, chain('b')[0] ?? 0n);
    expect(held({ ledger })).toBe('abd');
  });

  test('a model that is gone leaves its slots empty', () => {
    const [one, other] = [runOn(new KvLedger()), runOn(new KvLedger())];
    const cache = new SlotCache(2);
    cache.hold(one, chain('ab'));
    cache.hold(other, chain('xy'));
    cache.forget(one.ledger);
    expect([held(one), held(other)]).toEqual(['', 'xy']);
  });
});
