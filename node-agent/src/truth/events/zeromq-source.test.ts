import { Packr } from 'msgpackr';
import { expect, onTestFinished, test } from 'vitest';
import { Publisher, Router } from 'zeromq';
import { askReplay, endpointOf, zeromqSource } from './zeromq-source.ts';

const packr = new Packr({ useRecords: false });
const numbered = (sequence: number): Buffer => {
  const frame = Buffer.alloc(8);
  frame.writeBigInt64BE(BigInt(sequence));
  return frame;
};
const batch = (name: number): Buffer => packr.pack([1, [['BlockRemoved', [name]]]]);

test.each([
  ['in three frames', []],
  ['with its topic before it', ['kv-events']],
])('what an engine publishes is heard, and what was missed is asked for, %s', async (_, topic) => {
  const [publisher, router] = [new Publisher({ linger: 0 }), new Router({ linger: 0 })];
  await publisher.bind('tcp://127.0.0.1:*');
  await router.bind('tcp://127.0.0.1:*');
  const endpoints = { events: publisher.lastEndpoint ?? '', replay: router.lastEndpoint ?? '' };
  const source = zeromqSource({ ...endpoints, log: () => {}, pause: async () => {} });
  onTestFinished(() => {
    source.close();
    publisher.close();
    router.close();
  });
  const answering = (async () => {
    const [client = '', , first] = await router.receive();
    for (const sequence of [0, 1])
      await router.send([client, '', ...topic, numbered(sequence), batch(sequence)]);
    await router.send([client, '', ...topic, numbered(-1), '']);
    return Buffer.from(first ?? '').readBigInt64BE();
  })();
  const heard: string[] = [];
  source.follow((events) => {
    for (const event of events) heard.push(event.type === 'removed' ? event.names.join() : event.type);
  });
  // A subscriber is not heard of at once: the same message until it is.
  while (heard.length === 0) {
    await publisher.send(['kv-events', numbered(2), batch(2)]);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(await answering).toBe(0n);
  expect(heard.slice(0, 3)).toEqual(['0', '1', '2']);
});

test('when following ends unexpectedly nothing is known any more, and it begins anew after a while', async () => {
  const publisher = new Publisher({ linger: 0 });
  await publisher.bind('tcp://127.0.0.1:*');
  const [pauses, logged, heard]: [number[], unknown[], string[]] = [[], [], []];
  const source = zeromqSource({
    ...{ events: publisher.lastEndpoint ?? '', replay: undefined },
    log: (_level, _what, facts) => logged.push(facts?.why),
    pause: async (ms) => void pauses.push(ms),
  });
  onTestFinished(() => {
    source.close();
    publisher.close();
  });
  source.follow(([event]) => {
    heard.push(event?.type ?? 'none');
    // Neither the message nor that it is forgotten is taken.
    if (heard.length <= 2) throw new Error('odd');
  });
  while (heard.at(-1) !== 'removed' || heard.length < 4) {
    await publisher.send(['kv-events', numbered(2), batch(2)]);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(heard.slice(0, 4)).toEqual(['removed', 'cleared', 'cleared', 'removed']);
  expect([pauses, logged]).toEqual([[1_000], ['Error: odd']]);
});

test('a message that is too large is not taken: what it said is missed', async () => {
  const publisher = new Publisher({ linger: 0 });
  await publisher.bind('tcp://127.0.0.1:*');
  const events = publisher.lastEndpoint ?? '';
  const source = zeromqSource({ events, replay: undefined, log: () => {}, pause: async () => {} });
  onTestFinished(() => {
    source.close();
    publisher.close();
  });
  const heard: string[] = [];
  source.follow((said) =>
    heard.push(...said.map((event) => ('names' in event ? event.names.join() : event.type))),
  );
  const say = async (sequence: number, payload = batch(sequence)): Promise<void> => {
    await publisher.send(['kv-events', numbered(sequence), payload]);
    await new Promise((resolve) => setTimeout(resolve, 20));
  };
  while (heard.length === 0) await say(1);
  await say(2, packr.pack([1, [['BlockRemoved', [2]]], Buffer.alloc(17 * 1024 * 1024)]));
  while (heard.at(-1) !== '3') await say(3);
  expect([...new Set(heard)]).toEqual(['1', 'cleared', '3']);
});

test('a replay that goes on and on is not waited for', async () => {
  const router = new Router({ linger: 0 });
  onTestFinished(() => router.close());
  await router.bind('tcp://127.0.0.1:*');
  let isOver = false;
  const answering = (async () => {
    const [client = ''] = await router.receive();
    for (let sequence = 0; !isOver; sequence += 1) {
      await router.send([client, '', numbered(sequence), batch(sequence)]);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  expect(await askReplay(router.lastEndpoint ?? '', 0n, 200)).toEqual([]);
  isOver = true;
  await answering;
});

test('an endpoint that cannot be opened is tried again, at the most once a minute, and told once', async () => {
  const [pauses, logged]: [number[], unknown[]] = [[], []];
  const source = zeromqSource({
    ...{ events: 'nowhere://', replay: undefined },
    log: (_level, _what, facts) => logged.push(facts?.why),
    pause: async (ms) => {
      pauses.push(ms);
      if (pauses.length === 8) source.close();
    },
  });
  source.follow(() => {});
  while (pauses.length < 8) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(pauses.map((ms) => ms / 1_000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  expect(logged).toHaveLength(1);
});

test('each rank has the port after the one before', () => {
  expect([0, 1, 11].map((rank) => endpointOf('tcp://10.0.0.9:5559', rank))).toEqual([
    'tcp://10.0.0.9:5559',
    'tcp://10.0.0.9:5560',
    'tcp://10.0.0.9:5570',
  ]);
});
