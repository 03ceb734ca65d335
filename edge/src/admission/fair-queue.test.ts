import { expect, test } from 'vitest';
import { FairQueue, type Waiting } from './fair-queue.ts';

interface Named extends Waiting {
  readonly name: string;
}

const one = (tenant: string, name: string, more: Partial<Waiting> = {}): Named => ({
  ...{ tenant, name, priority: 5, tokens: 1_000, isRetry: false },
  ...more,
});

const takeAll = (queue: FairQueue<Named>): string[] => {
  const names: string[] = [];
  for (let next = queue.take(); next !== undefined; next = queue.take()) names.push(next.name);
  return names;
};

test('a tenant’s own go by priority, then as they came; a retry goes first of its priority', () => {
  const queue = new FairQueue<Named>();
  queue.push(one('a', 'first'), 1);
  queue.push(one('a', 'low', { priority: 0 }), 1);
  queue.push(one('a', 'second'), 1);
  queue.push(one('a', 'again', { isRetry: true }), 1);
  queue.push(one('a', 'high', { priority: 9 }), 1);
  expect(takeAll(queue)).toEqual(['high', 'again', 'first', 'second', 'low']);
});

test('a tenant’s priority is nothing to another tenant', () => {
  const queue = new FairQueue<Named>();
  for (let at = 0; at < 4; at += 1) queue.push(one('loud', `loud${at}`, { priority: 9 }), 1);
  queue.push(one('quiet', 'quiet', { priority: 0 }), 1);
  expect(takeAll(queue).indexOf('quiet')).toBeLessThanOrEqual(2);
});

test('shares are of tokens, not of requests: ten small ones weigh as one that is ten times as long', () => {
  const queue = new FairQueue<Named>();
  for (let at = 0; at < 40; at += 1) queue.push(one('small', 'small', { tokens: 400 }), 1);
  for (let at = 0; at < 4; at += 1) queue.push(one('large', 'large', { tokens: 4_000 }), 1);
  const first = takeAll(queue).slice(0, 22);
  expect(first.filter((name) => name === 'large').length).toBe(2);
});

test('what a request took more than was expected is taken from its tenant’s next turns', () => {
  const count = (charged: number): number => {
    const queue = new FairQueue<Named>();
    for (let at = 0; at < 20; at += 1) for (const tenant of ['a', 'b']) queue.push(one(tenant, tenant), 1);
    queue.charge('a', charged);
    return takeAll(queue)
      .slice(0, 10)
      .filter((name) => name === 'a').length;
  };
  expect(count(0)).toBe(5);
  expect(count(4_000)).toBe(3);
  expect(count(-4_000)).toBe(7);
});

test('who may not go is passed over, and goes once it may', () => {
  const queue = new FairQueue<Named>();
  queue.push(one('a', 'stuck', { isRetry: true }), 1);
  queue.push(one('a', 'free'), 1);
  expect(queue.take(({ name }) => name !== 'stuck')?.name).toBe('free');
  expect(queue.take(({ name }) => name !== 'stuck')).toBeUndefined();
  expect(queue.take()?.name).toBe('stuck');
});

test('who waits with most for its weight makes place, its last first; nobody does for more than a share', () => {
  const queue = new FairQueue<Named>();
  for (let at = 0; at < 6; at += 1) queue.push(one('flood', `f${at}`), 1);
  expect(queue.overShare('flood', 1)).toBeUndefined();
  expect(queue.overShare('small', 1)?.name).toBe('f5');
  for (let at = 0; at < 4; at += 1) queue.push(one('small', `s${at}`), 1);
  expect(queue.overShare('small', 1)?.name).toBe('f5');
  queue.push(one('small', 's4'), 1);
  expect(queue.overShare('small', 1)).toBeUndefined();
});

test('a small tenant waits for few, however many of another’s wait', () => {
  const queue = new FairQueue<Named>();
  for (let at = 0; at < 100; at += 1) queue.push(one('flood', 'f'), 1);
  expect(queue.ahead(one('small', 's'), 1)).toBe(1);
  expect(queue.ahead(one('flood', 'f'), 1)).toBe(100);
  expect(queue.ahead(one('flood', 'f', { priority: 6 }), 1)).toBe(0);
});
