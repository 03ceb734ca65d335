/** What an agent sends faster than it can be taken. */
import type { KvFabric } from '@cognitora/protocol/kv-daemon';
import { expect, onTestFinished, test, vi } from 'vitest';
import { AgentLines } from './agent-lines.ts';
import type { Fabric } from './fabric.ts';
import type { HeldKeys } from './held-keys.ts';
import { fabricMs } from './limits.ts';

test('of a flood of fleets the first is taken at once, and then the newest, also when the agent has gone', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const taken: string[] = [];
  const fabric = { self: {}, reach: [], update: ({ ca }: KvFabric) => taken.push(ca) } as unknown as Fabric;
  const lines = new AgentLines({
    fabric: () => fabric,
    held: () => ({ restart: () => {} }) as unknown as HeldKeys,
  });
  const channel = lines.attach(() => true);
  const tell = (ca: string): void =>
    channel.receive({ type: 'fabric', ca, certificate: '', peers: [] } as never);
  for (let at = 0; at < 1_000; at += 1) tell(`${at}`);
  channel.closed();
  expect(taken).toEqual(['0']);
  await vi.advanceTimersByTimeAsync(fabricMs);
  expect(taken).toEqual(['0', '999']);
  await vi.advanceTimersByTimeAsync(2 * fabricMs);
  const next = lines.attach(() => true);
  next.receive({ type: 'fabric', ca: 'later', certificate: '', peers: [] } as never);
  expect(taken).toEqual(['0', '999', 'later']);
  lines.close();
  expect(vi.getTimerCount()).toBe(0);
});
