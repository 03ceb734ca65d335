/** What is asked of a peer has an end, however steadily its answer comes. */
import type { NodeId } from '@cognitora/protocol/ids';
import { expect, onTestFinished, test, vi } from 'vitest';
import { PeerError } from './codes.ts';
import { check, namespaces, newest, ping, probe } from './exchange.ts';
import { Inbox } from './inbox.ts';
import { askedMsMax, stallMsMax } from './limits.ts';
import type { Channel } from './transport.ts';
import { headerOf } from './wire.ts';

const nowMs = (): number => 0;
const asks: [what: string, ask: (channel: Channel) => Promise<unknown>, begins: Buffer][] = [
  ['ping', (channel) => ping(channel, Buffer.alloc(8), nowMs), headerOf('pong', 8)],
  ['probe', (channel) => probe(channel, 1_000, nowMs), headerOf('data', 1_000)],
  ['namespaces', namespaces, headerOf('json', 1_000)],
  ['check', (channel) => check(channel, 'doctor:k', askedMsMax), headerOf('json', 1_000)],
  [
    'newest',
    (channel) => newest(channel, { namespace: 'n', after: 0, countMax: 1 } as never),
    headerOf('json', 1_000),
  ],
];

test.each(asks)('the answer to %s that drips is given up, and its channel cut', async (_, ask, begins) => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const inbox = new Inbox(() => {});
  const cut = vi.fn(() => inbox.end(new PeerError('cut')));
  const giveBack = vi.fn();
  const channel: Channel = {
    node: 'n' as NodeId,
    fill: (target, msMax) => inbox.fill(target, msMax),
    came: 0,
    write: () => Promise.resolve(),
    ...{ giveBack, end: () => {}, cut },
  };
  const failed = expect(ask(channel)).rejects.toMatchObject({ code: 'stalled' });
  inbox.push(begins);
  // Slower than any answer, quicker than what counts as standing still.
  const everyMs = stallMsMax / 4;
  for (let ms = 0; ms < askedMsMax && cut.mock.calls.length === 0; ms += everyMs) {
    await vi.advanceTimersByTimeAsync(everyMs);
    inbox.push(Buffer.alloc(1));
  }
  expect(cut).toHaveBeenCalled();
  expect(giveBack).not.toHaveBeenCalled();
  await failed;
  expect(vi.getTimerCount()).toBe(0);
});
