/** What agents measured reaches decisions and views, once, and only while it is fresh. */
import type { Epoch, NodeId, ReplicaName } from '@cognitora/protocol/ids';
import { telemetryMsMax } from '@cognitora/protocol/limits';
import type { LoadReport, Telemetry } from '@cognitora/protocol/telemetry';
import { describe, expect, test } from 'vitest';
import { policyOf } from '../policy/policy.ts';
import { unreadPrompt } from './decision.ts';
import { Directory } from './directory.ts';

const one = 1 as Epoch;
const name = (text: string): ReplicaName => text as ReplicaName;
const models = [{ id: 'm', createdSeconds: 1, ownedBy: 'x' }];

/** Two nodes with a replica each, decided by that policy. */
const fleet = (policy: string): Directory => {
  const chosen = policyOf(policy);
  if (chosen === undefined) throw new Error(`there is no policy ${policy}`);
  const policies = { policy: chosen, shadow: undefined };
  const directory = new Directory({ secret: 1, askSnapshot: () => 1, policies });
  for (const node of ['a', 'b']) {
    directory.join(node as NodeId, one, node, [{ name: name('r0'), state: 'ready', models }], 0);
  }
  return directory;
};

const tell = (directory: Directory, node: string, figures: Partial<Telemetry>, nowMs = 0): void =>
  directory.measured(node as NodeId, one, { rttMs: 0, ...figures }, nowMs);

const load = (figures: Partial<LoadReport>): Partial<Telemetry> => ({
  replicas: [{ name: name('r0'), ...figures }],
});

const decide = (directory: Directory, nowMs = 0, random = 0) =>
  directory.decide({
    ...{ model: 'm', prompt: unreadPrompt, isStream: true, nowMs },
    ...{ isLeased: () => true, random: () => random },
  });

describe.each(['predicted-latency', 'weighted', 'least-loaded'])('by %s', (policy) => {
  test('a queue of others sends requests elsewhere, until it is gone or nobody knows any more', () => {
    const choices = (nowMs: number, figures: Partial<LoadReport>) => {
      const directory = fleet(policy);
      tell(directory, 'a', load(figures));
      return [0, 0.99].map((random) => {
        const { node, reservation } = decide(directory, nowMs, random);
        directory.settle(reservation, { nowMs });
        return node;
      });
    };
    const queue = { running: 8, waiting: 4, othersRunning: 8, othersWaiting: 4 };
    expect(choices(0, queue)).toEqual(['b', 'b']);
    expect(choices(0, { waiting: 4, othersWaiting: 4 })).toEqual(['b', 'b']);
    expect(choices(telemetryMsMax, queue)).toEqual(['b', 'b']);
    expect(choices(telemetryMsMax + 1, queue)).toEqual(['a', 'b']);
    // What the edge sent itself it knows already.
    expect(choices(0, { running: 8, waiting: 4 })).toEqual(['a', 'b']);
  });
});

test('what is live counts whether an agent tells of its engine or not', () => {
  const directory = fleet('least-loaded');
  tell(directory, 'b', load({ othersRunning: 2 }));
  const chosen = [0, 1, 2, 3].map(() => decide(directory, 0, 0.99).node);
  // Two for the idle one, then all are level.
  expect([...chosen.slice(0, 2), chosen.slice(2).toSorted()]).toEqual(['a', 'a', ['a', 'b']]);
});

describe('watts', () => {
  const gpus = (watts: number | undefined) => [{ gpu: 0, ...(watts === undefined ? {} : { watts }) }];
  const choose = (ofA: number | undefined, ofB: number | undefined, nowMs = 0) => {
    const directory = fleet('weighted');
    tell(directory, 'a', { ...load({ gpus: [0] }), gpus: gpus(ofA) });
    tell(directory, 'b', { ...load({ gpus: [0] }), gpus: gpus(ofB) });
    return [0, 0.99].map((random) => {
      const { node, reservation } = decide(directory, nowMs, random);
      directory.settle(reservation, { nowMs });
      return node;
    });
  };

  test('decide by weighted when they are known of all', () => {
    expect(choose(600, 300)).toEqual(['b', 'b']);
    expect(choose(300, 600)).toEqual(['a', 'a']);
  });

  test('are left out when they are not known of one, or too old', () => {
    expect(choose(600, undefined)).toEqual(['a', 'b']);
    expect(choose(600, 300, telemetryMsMax + 1)).toEqual(['a', 'b']);
  });

  test('of a replica on two GPUs are those of both, and unknown when one is', () => {
    const directory = fleet('weighted');
    tell(directory, 'b', { ...load({ gpus: [0] }), gpus: [{ gpu: 0, watts: 500 }] });
    tell(directory, 'a', {
      ...load({ gpus: [0, 1] }),
      gpus: [
        { gpu: 0, watts: 300 },
        { gpu: 1, watts: 300 },
      ],
    });
    expect(decide(directory, 0, 0).node).toBe('b');
  });
});

describe('a view of a node', () => {
  const view = (directory: Directory, nowMs: number) => directory.nodes(nowMs)[0];

  test('has each GPU once, with those who share it, and ages', () => {
    const directory = fleet('weighted');
    const replicas = ['r0', 'r1'].map((one) => ({ name: name(one), state: 'ready' as const, models }));
    directory.report('a' as NodeId, one, replicas, 0);
    tell(directory, 'a', {
      replicas: [
        { name: name('r0'), running: 2, waiting: 0, kvPermille: 250, gpus: [0] },
        { name: name('r1'), gpus: [0] },
        { name: name('r9'), running: 7 },
      ],
      gpus: [{ gpu: 0, watts: 312, memoryUsedMiB: 7 }],
    });
    expect(view(directory, 3_000)?.gpus).toEqual([
      { gpu: 0, watts: 312, memoryUsedMiB: 7, ageMs: 3_000, replicas: ['r0', 'r1'] },
    ]);
    expect(view(directory, 3_000)?.replicas.map((replica) => replica.load)).toEqual([
      { running: 2, waiting: 0, kvPermille: 250, gpus: [0], ageMs: 3_000 },
      { gpus: [0], ageMs: 3_000 },
    ]);
  });

  test('has nothing of what is too old, and all of what was told again', () => {
    const directory = fleet('weighted');
    tell(directory, 'a', { ...load({ running: 2 }), gpus: [{ gpu: 0, watts: 1 }] });
    expect(view(directory, telemetryMsMax + 1)?.gpus).toEqual([]);
    expect(view(directory, telemetryMsMax + 1)?.replicas[0]).not.toHaveProperty('load');
    tell(directory, 'a', load({ waiting: 1 }), telemetryMsMax);
    expect(view(directory, telemetryMsMax + 1)?.replicas[0]?.load).toEqual({ waiting: 1, ageMs: 1 });
  });

  test('knows nothing of a link before', () => {
    const directory = fleet('weighted');
    tell(directory, 'a', { ...load({ running: 2 }), gpus: [{ gpu: 0, watts: 1 }] });
    directory.join('a' as NodeId, 2 as Epoch, 'a', [{ name: name('r0'), state: 'ready', models }], 1);
    tell(directory, 'a', load({ running: 3 }), 1);
    const [, again] = directory.nodes(1);
    expect([again?.gpus, again?.replicas[0]?.load]).toEqual([[], undefined]);
  });
});
