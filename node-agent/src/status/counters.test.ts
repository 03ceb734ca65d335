import { expect, test, vi } from 'vitest';
import { counted, ReplicaCounters } from './counters.ts';

test('what goes through a reply is counted, and goes through', () => {
  const reply = { head: vi.fn(), data: vi.fn(() => false), end: vi.fn(), fail: vi.fn(), consumed: vi.fn() };
  const counters = new ReplicaCounters();
  const { reply: through, over } = counted(reply, counters);
  expect([counters.requests, counters.live, counters.answering]).toEqual([1, 1, 0]);
  const record = { bodyBytes: 3, totalMs: 1 };
  through.head({ status: 200, headers: [] });
  through.head({ status: 503, headers: [] });
  expect(through.data(new Uint8Array(3))).toBe(false);
  expect([counters.live, counters.answering]).toEqual([1, 1]);
  through.data(new Uint8Array(0));
  through.consumed(9);
  through.end(record);
  through.fail({ code: 'engine_broke_off', message: 'gone', record });
  expect(counters.bodyBytes).toBe(3);
  expect([...counters.answers]).toEqual([
    ['2xx', 1],
    ['5xx', 1],
  ]);
  expect([...counters.errors]).toEqual([['engine_broke_off', 1]]);
  over();
  expect([counters.requests, counters.live, counters.answering]).toEqual([1, 0, 0]);
  expect(reply.consumed).toHaveBeenCalledWith(9);
  expect(reply.end).toHaveBeenCalledWith(record);
  expect(reply.fail).toHaveBeenCalledTimes(1);
});
