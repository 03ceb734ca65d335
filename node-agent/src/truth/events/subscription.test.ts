import { Packr } from 'msgpackr';
import { expect, test } from 'vitest';
import { sliceBlocks } from './event-slices.ts';
import { type EventMessage, Subscription } from './subscription.ts';

const packr = new Packr({ useRecords: false });
/** A message that stores a block of its own number. */
const message = (sequence: number): EventMessage => ({
  sequence: BigInt(sequence),
  payload: packr.pack([1, [['BlockStored', [sequence], null, [sequence], 1]]]),
});

/** What is heard in a few words, of an engine that still has some messages. */
const listening = (kept: readonly number[] = []) => {
  const heard: string[] = [];
  const asked: number[] = [];
  const subscription = new Subscription({
    replay: async (first) => {
      asked.push(Number(first));
      return kept.filter((sequence) => sequence >= first).map(message);
    },
    onEvents: (events) => {
      for (const event of events) heard.push(event.type === 'stored' ? event.names.join() : event.type);
    },
  });
  const say = async (...sequences: number[]): Promise<string> => {
    for (const sequence of sequences) await subscription.message(message(sequence));
    return heard.splice(0).join(' ');
  };
  return { subscription, say, asked, heard };
};

test('messages in sequence are heard, and nothing is asked', async () => {
  const { say, asked } = listening();
  expect(await say(0, 1, 2)).toBe('0 1 2');
  expect(asked).toEqual([]);
});

test('a gap is filled from the replay', async () => {
  const { say, asked } = listening([0, 1, 2, 3, 4]);
  expect(await say(0, 3)).toBe('0 1 2 3');
  expect(asked).toEqual([1]);
});

test('after a gap that cannot be filled nothing is known, but for the unbroken end', async () => {
  expect(await listening().say(0, 3, 4)).toBe('0 cleared 3 4');
  expect(await listening([2, 3]).say(0, 4)).toBe('0 cleared 2 3 4');
  expect(await listening([1, 3]).say(0, 4)).toBe('0 cleared 4');
});

test('who comes late hears what is still there, and had nothing to forget', async () => {
  expect(await listening().say(5, 6)).toBe('5 6');
  expect(await listening([3, 4]).say(5)).toBe('3 4 5');
  expect(await listening([2, 4]).say(5)).toBe('5');
});

test('an engine that counts from the beginning again holds nothing of what was', async () => {
  expect(await listening().say(0, 1, 0, 1)).toBe('0 1 cleared 0 1');
  expect(await listening([0, 1]).say(5, 6, 2)).toBe('5 6 cleared 0 1 2');
});

test('after a reset any number is the first', async () => {
  const { subscription, say } = listening();
  await say(0, 1);
  subscription.reset();
  expect(await say(7)).toBe('7');
});

test('a replay that was asked of an engine before a reset does not count, nor what it filled a gap for', async () => {
  const heard: string[] = [];
  const answered = Promise.withResolvers<readonly EventMessage[]>();
  const subscription = new Subscription({
    replay: () => answered.promise,
    onEvents: (events) =>
      heard.push(...events.map((event) => ('names' in event ? event.names.join() : event.type))),
  });
  await subscription.message(message(0));
  const filling = subscription.message(message(3));
  subscription.reset();
  answered.resolve([1, 2].map(message));
  await filling;
  await subscription.message(message(0));
  await subscription.message(message(1));
  expect(heard).toEqual(['0', '0', '1']);
});

test('of a message that is under way at a reset the rest does not count', async () => {
  const names = Array.from({ length: 2 * sliceBlocks }, (_, at) => at);
  const payload = packr.pack([1, [['BlockRemoved', names]]]);
  let calls = 0;
  const onEvents = (): void => {
    calls += 1;
    subscription.reset();
  };
  const subscription = new Subscription({ replay: async () => [], onEvents });
  await subscription.message({ sequence: 0n, payload });
  expect(calls).toBe(1);
});

test('a message that cannot be read may have said anything', async () => {
  const { subscription, heard } = listening();
  await subscription.message({ sequence: 0n, payload: new Uint8Array([0xc1]) });
  expect(heard).toEqual(['cleared']);
});

test('events that cannot be applied may have said anything, and those after them are heard', async () => {
  const heard: string[] = [];
  const subscription = new Subscription({
    replay: async () => [],
    onEvents: ([event]) => {
      if (event?.type === 'stored' && event.names.includes('1')) throw new Error('odd');
      heard.push(event?.type ?? 'none');
    },
  });
  for (const sequence of [0, 1, 2]) await subscription.message(message(sequence));
  expect(heard).toEqual(['stored', 'cleared', 'stored']);
});
