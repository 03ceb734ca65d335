import type { ReplicaName } from '@cognitora/protocol/ids';
import { telemetryMs, telemetryRefreshMs } from '@cognitora/protocol/limits';
import type { GpuReport, LoadReport, Telemetry } from '@cognitora/protocol/telemetry';
import { expect, test } from 'vitest';
import { GpuReadings } from './gpu-readings.ts';
import { Untold } from './untold.ts';

const load = (figures: Partial<LoadReport> = {}): LoadReport => ({ name: 'r0' as ReplicaName, ...figures });

const link = () => {
  const untold = new Untold();
  return (loads: readonly LoadReport[], gpus: readonly GpuReport[], nowMs: number, isTaken = true) => {
    let told: Omit<Telemetry, 'rttMs'> | undefined;
    untold.tell(loads, gpus, nowMs, (figures) => {
      told = figures;
      return isTaken;
    });
    return told;
  };
};

test('a new link hears everything, then only of whom something changed', () => {
  const tell = link();
  const both = [load({ running: 1 }), { ...load({ running: 1 }), name: 'r1' as ReplicaName }];
  expect(tell(both, [{ gpu: 0, watts: 300 }], 0)).toEqual({ replicas: both, gpus: [{ gpu: 0, watts: 300 }] });
  const changed = { ...load({ running: 2 }), name: 'r1' as ReplicaName };
  expect(tell([load({ running: 1 }), changed], [{ gpu: 0, watts: 301 }], telemetryMs)).toEqual({
    replicas: [changed],
  });
});

test('nothing is told more often than once a second, and nothing is lost by it', () => {
  const tell = link();
  tell([load({ running: 1 })], [], 0);
  expect(tell([load({ running: 2 })], [], telemetryMs - 1)).toBeUndefined();
  expect(tell([load({ running: 2 })], [], telemetryMs)).toEqual({ replicas: [load({ running: 2 })] });
});

test('what did not change is told again in time', () => {
  const tell = link();
  tell([load({ running: 1 })], [{ gpu: 0 }], 0);
  expect(tell([load({ running: 1 })], [{ gpu: 0 }], telemetryRefreshMs - 1)).toBeUndefined();
  expect(tell([load({ running: 1 })], [{ gpu: 0 }], telemetryRefreshMs)).toEqual({
    replicas: [load({ running: 1 })],
    gpus: [{ gpu: 0 }],
  });
});

test('what the link did not take is offered again', () => {
  const tell = link();
  expect(tell([load()], [], 0, false)).toEqual({ replicas: [load()] });
  expect(tell([load()], [], 1)).toEqual({ replicas: [load()] });
});

test.each<readonly [string, Partial<LoadReport>, Partial<LoadReport>, boolean]>([
  ['one more of few', { waiting: 3 }, { waiting: 4 }, true],
  ['one more of many', { running: 200 }, { running: 201 }, false],
  ['a queue that is empty now', { waiting: 1 }, { waiting: 0 }, true],
  ['a thousandth of memory', { kvPermille: 500 }, { kvPermille: 501 }, false],
  ['a tenth of memory', { kvPermille: 500 }, { kvPermille: 600 }, true],
  ['what is known no more', { running: 0 }, {}, true],
  ['what is known now', {}, { waiting: 0 }, true],
  ['another GPU', { gpus: [0] }, { gpus: [1] }, true],
  ['the same GPU', { gpus: [0] }, { gpus: [0] }, false],
])('%s is worth telling or not', (_, before, now, isTold) => {
  const tell = link();
  tell([load(before)], [], 0);
  expect(tell([load(now)], [], telemetryMs) !== undefined).toBe(isTold);
});

test('a GPU that is read no more is told as unknown, and comes back', () => {
  const readings = new GpuReadings();
  readings.read({ gpu: 1, watts: 10 }, 0);
  readings.read({ gpu: 0, watts: 20 }, 0);
  expect(readings.reports(5_000)).toEqual([
    { gpu: 0, watts: 20 },
    { gpu: 1, watts: 10 },
  ]);
  readings.read({ gpu: 1, watts: 11 }, 5_000);
  expect(readings.reports(5_001)).toEqual([{ gpu: 0 }, { gpu: 1, watts: 11 }]);
});
