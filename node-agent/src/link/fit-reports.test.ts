import type { ReplicaName } from '@cognitora/protocol/ids';
import {
  ackBusyMsMax,
  framePayloadBytesMax,
  modelsPerReplicaMax,
  replicasPerNodeMax,
  replicaWhyCharsMax,
} from '@cognitora/protocol/limits';
import { encodeJson, type ReplicaReport } from '@cognitora/protocol/link';
import { expect, test } from 'vitest';
import { fitReports } from './fit-reports.ts';

const report = (index: number, models: number, idChars: number): ReplicaReport => ({
  name: `r${index}` as ReplicaName,
  state: 'failed',
  why: 'é'.repeat(replicaWhyCharsMax),
  ackMs: ackBusyMsMax,
  models: Array.from({ length: models }, (_, model) => ({
    id: `${model}-`.padEnd(idChars, 'ü'),
    createdSeconds: 1,
    ownedBy: 'engine',
  })),
});

test('the most models a node may have still fit one frame, and every replica keeps some', () => {
  const full = Array.from({ length: replicasPerNodeMax }, (_, index) =>
    report(index, modelsPerReplicaMax, 256),
  );
  const fitted = fitReports(full);
  expect(encodeJson({ replicas: fitted }).length).toBeLessThan(framePayloadBytesMax - 4096);
  expect(fitted).toHaveLength(replicasPerNodeMax);
  expect(Math.min(...fitted.map(({ models }) => models.length))).toBeGreaterThan(0);
});

test('what fits is left as it is', () => {
  const small = [report(0, 3, 20), report(1, 0, 20)];
  expect(fitReports(small)).toEqual(small);
});
