import { expect, test } from 'vitest';
import { type RefusalReason, refusalReasons } from './counts.ts';
import { modelDefaults } from './limits.ts';
import { refusalOf } from './refusal.ts';

const limits = { ...modelDefaults, queueMsMax: 2_500, tenantConcurrency: 2 };
const refused = (reason: RefusalReason) => refusalOf('fa"ke', { reason, limits }, 7);

test('a client is told what was full, or late, and when to come again', () => {
  expect(refused('queue_full').message).toBe(
    'The queue for "fa\\"ke" is full. Try again after the seconds in Retry-After.',
  );
  expect(refused('predicted_late').message).toContain('its first token would come too late. Try again');
  expect(refused('queue_time').message).toContain('waited for 2.5 s');
  expect(refused('tenant_concurrency').message).toBe(
    'Your tenant already has its limit of 2 requests at once.',
  );
  const note = { reason: 'tenant_concurrency', limits: { ...limits, tenantConcurrency: 1 } } as const;
  expect(refusalOf('m', note, 7).message).toBe('Your tenant already has its limit of 1 request at once.');
});

test('each reason has its code, and Retry-After where another time may be better', () => {
  const told = refusalReasons.map((reason) => {
    const { code, retryAfterSeconds, note } = refused(reason);
    return [note.reason, code, retryAfterSeconds];
  });
  expect(told).toEqual([
    ['tenant_concurrency', 'tenant_limit', 7],
    ['tenant_share', 'tenant_limit', 7],
    ['queue_full', 'overloaded', 7],
    ['predicted_late', 'overloaded', 7],
    ['queue_time', 'overloaded', 7],
    ['deadline', 'total_timeout', undefined],
    ['client_gone', 'client_gone', undefined],
  ]);
});
