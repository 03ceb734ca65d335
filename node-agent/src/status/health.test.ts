import type { ReplicaName } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import { agentStatus, replicaStatus } from '../../testing/agent-status.ts';
import { healthOf } from './health.ts';

const link = { edge: 'https://edge.example', sinceMs: 0, redials: 0 };

test('a host serves when it is linked and a replica is ready', () => {
  const loading = replicaStatus({ name: 'r1' as ReplicaName, state: 'loading' });
  expect(healthOf(agentStatus({ replicas: [replicaStatus(), loading] }))).toEqual({
    isHealthy: true,
    says: '1 of 2 replicas ready',
  });
});

test.each([
  ['dialling', undefined, 'not linked to https://edge.example: dialling'],
  ['waiting', 'the edge fell silent', 'not linked to https://edge.example: waiting (the edge fell silent)'],
  ['stopping', undefined, 'not linked to https://edge.example: stopping'],
] as const)('it does not while its link is %s', (state, why, says) => {
  const status = agentStatus({ link: { ...link, state, ...(why === undefined ? {} : { why }) } });
  expect(healthOf(status)).toEqual({ isHealthy: false, says });
});

test('nor while no replica is ready, and it says why', () => {
  const replicas = [replicaStatus({ state: 'failed', why: 'ECONNREFUSED' })];
  expect(healthOf(agentStatus({ replicas })).says).toBe('no replica is ready: r0 failed (ECONNREFUSED)');
  expect(healthOf(agentStatus({ replicas: [] }))).toEqual({
    isHealthy: false,
    says: 'no replica is ready: there is none',
  });
});
