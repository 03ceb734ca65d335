import { Packr } from 'msgpackr';
import { expect, onTestFinished, test } from 'vitest';
import { Publisher, Router } from 'zeromq';
import { endpointOf, zeromqSource } from './zeromq-source.ts';

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
  const source = zeromqSource(endpoints, () => {});
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

test('each rank has the port after the one before', () => {
  expect([0, 1, 11].map((rank) => endpointOf('tcp://10.0.0.9:5559', rank))).toEqual([
    'tcp://10.0.0.9:5559',
    'tcp://10.0.0.9:5560',
    'tcp://10.0.0.9:5570',
  ]);
});
