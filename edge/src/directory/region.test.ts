import type { Epoch, NodeId, Region as RegionName } from '@cognitora/protocol/ids';
import { dialSkewMsMax, leaseMsMax } from '@cognitora/protocol/limits';
import type { Hello } from '@cognitora/protocol/link';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { envOf } from '../../testing/env.ts';
import { ObjectState } from '../../testing/object-state.ts';
import { Region } from './region.ts';

vi.mock('cloudflare:workers', () => ({
  DurableObject: class {
    readonly ctx: unknown;
    readonly env: unknown;
    constructor(ctx: unknown, env: unknown) {
      this.ctx = ctx;
      this.env = env;
    }
  },
}));

const startMs = 1_800_000_000_000;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: startMs });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const node = 'n' as NodeId;

/** A region's object over a table that holds one node. */
const newRegion = (layout: 'one-object' | 'object-per-node' = 'one-object'): Region => {
  let row: Record<string, string | number> | undefined;
  const exec = (text: string, name = '', epoch = 0, dialed_at_ms = 0) => {
    if (text.trim().startsWith('INSERT')) row = { node: name, epoch, dialed_at_ms };
    const rows = row === undefined || text.includes('policies') ? [] : [row];
    return { toArray: () => rows, [Symbol.iterator]: () => rows.values() };
  };
  const state = Object.assign(new ObjectState(), { storage: { sql: { exec } } });
  return new Region(state.state, envOf({ LAYOUT: layout, REGIONS: 'local' }));
};

test('each dial of a node must be newer than its last, and gets the next epoch', () => {
  const region = newRegion();
  expect(region.nextEpoch(node, startMs)).toEqual({ value: 1 });
  expect(region.nextEpoch(node, startMs)).toMatchObject({ refused: { code: 'identity_refused' } });
  expect(region.nextEpoch(node, startMs + dialSkewMsMax)).toEqual({ value: 2 });
  expect(region.nextEpoch(node, startMs + dialSkewMsMax - 1)).toMatchObject({
    refused: { code: 'identity_refused' },
  });
});

test('a last dial from before the clock was set back bars nobody, and is forgotten', () => {
  const region = newRegion();
  region.nextEpoch(node, startMs);
  const nowMs = startMs - dialSkewMsMax - 1;
  vi.setSystemTime(nowMs);
  expect(region.nextEpoch(node, nowMs)).toEqual({ value: 2 });
  expect(region.nextEpoch(node, nowMs)).toMatchObject({ refused: { code: 'identity_refused' } });
  vi.setSystemTime(nowMs + 1);
  expect(region.nextEpoch(node, nowMs + 1)).toEqual({ value: 3 });
});

test('after the clock was set back a node nobody vouches for keeps its lease for leaseMsMax at most', () => {
  const region = newRegion('object-per-node');
  const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];
  const replicas = [{ name: 'r0', state: 'ready', models }];
  region.joined(node, 1 as Epoch, { name: 'host', replicas } as unknown as Hello, 'local' as RegionName);
  vi.setSystemTime(startMs - 3_600_000);
  expect(region.status().ready).toBe(true);
  vi.setSystemTime(Date.now() + leaseMsMax);
  expect(region.status().ready).toBe(false);
});
