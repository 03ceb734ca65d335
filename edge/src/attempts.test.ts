import { CognitoraError, type ErrorCode } from '@cognitora/protocol/errors';
import type { Region, RequestId } from '@cognitora/protocol/ids';
import { expect, test } from 'vitest';
import { type FailedAttempt, failureCode, mayTryNext, tellFailure } from './attempts.ts';
import { errorResponse } from './error-response.ts';

const failed = (region: string, code: ErrorCode, route?: string): FailedAttempt => ({
  ...{ region: region as Region, code },
  answer: errorResponse(new CognitoraError(code, 'x', route === undefined ? {} : { route })),
});
const id = 'req-1' as RequestId;
const toldOf = (...failures: FailedAttempt[]) => {
  const { status, headers } = tellFailure(failures, id) ?? new Response();
  const named = ['x-request-id', 'x-cognitora-code', 'x-cognitora-region', 'x-cognitora-route'];
  return [status, ...named.map((name) => headers.get(name))];
};

test('a failure tells the request’s id, its region and why nobody was chosen', () => {
  expect(toldOf(failed('weur', 'no_capacity', 'replicas=2; loading=2'))).toEqual([
    ...[503, 'req-1', 'no_capacity', 'weur'],
    'region=weur; code=no_capacity; replicas=2; loading=2',
  ]);
});

test('of several regions the most telling answer is given, and each region’s reason', () => {
  const [near, far] = [
    failed('weur', 'no_capacity', 'replicas=1; full=1'),
    failed('enam', 'model_not_found'),
  ];
  const route = 'region=weur; code=no_capacity; replicas=1; full=1, region=enam; code=model_not_found';
  expect(toldOf(near, far)).toEqual([503, 'req-1', 'no_capacity', 'weur', route]);
  expect(toldOf(failed('a', 'no_nodes'), failed('b', 'model_not_found')).slice(2, 4)).toEqual([
    ...['model_not_found', 'b'],
  ]);
  expect(toldOf(failed('a', 'link_lost'), failed('b', 'ack_timeout')).slice(2, 4)).toEqual([
    'link_lost',
    'a',
  ]);
});

test('a failure that no other region could mend is told, whatever came before', () => {
  expect(toldOf(failed('a', 'link_lost'), failed('b', 'internal')).slice(2, 4)).toEqual(['internal', 'b']);
});

test('where no region was asked there is nothing to tell', () => {
  expect(tellFailure([], id)).toBeUndefined();
});

test('only a failure that another replica or region may not share lets the next be tried', () => {
  expect(failureCode(new Response('{}', { status: 500 }))).toBeUndefined();
  expect(failureCode(new Response('{}', { status: 503 }))).toBe('engine_unavailable');
  expect(failureCode(failed('a', 'no_capacity').answer)).toBe('no_capacity');
  expect(
    ['no_capacity', 'model_not_found', 'link_lost'].map((code) => mayTryNext(code as ErrorCode)),
  ).toEqual([true, true, true]);
  expect(['bad_json', 'internal', 'client_gone'].map((code) => mayTryNext(code as ErrorCode))).toEqual([
    false,
    false,
    false,
  ]);
});
