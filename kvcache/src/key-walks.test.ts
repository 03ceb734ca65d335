import { expect, test } from 'vitest';
import { KeyWalks } from './key-walks.ts';
import { KvStore } from './store.ts';

const walksOver = async (count: number): Promise<KeyWalks> => {
  const store = await KvStore.open({ ramBytesMax: 2 ** 20, ssd: undefined, nowMs: () => 0 });
  for (let index = 0; index < count; index += 1) store.reserve(`a:${index}`, 1)?.commit();
  return new KeyWalks(store);
};

const two = { prefix: 'a:', looksMax: 2, countMax: 2 };

test('a walk that was given up for others is not taken for one that is at its end', async () => {
  const walks = await walksOver(5);
  const first = walks.step({ ...two, cursor: 0 });
  expect(first?.keys).toEqual(['a:0', 'a:1']);
  const next = walks.step({ ...two, cursor: first?.cursor ?? 0 });
  expect(next?.keys).toEqual(['a:2', 'a:3']);
  for (let other = 0; other < 64; other += 1) walks.step({ ...two, cursor: 0 });
  expect(walks.step({ ...two, cursor: next?.cursor ?? 0 })).toBeUndefined();
  expect(walks.step({ ...two, cursor: 10_000 })).toBeUndefined();
  expect(walks.step({ ...two, cursor: 0, looksMax: 100, countMax: 100 })).toMatchObject({ cursor: 0 });
});

test('one namespace does not go on where another walks', async () => {
  const walks = await walksOver(5);
  const { cursor = 0 } = walks.step({ ...two, cursor: 0 }) ?? {};
  expect(walks.step({ ...two, prefix: 'b:', cursor })).toBeUndefined();
});
