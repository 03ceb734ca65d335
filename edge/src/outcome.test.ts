import { CognitoraError } from '@cognitora/protocol/errors';
import { describe, expect, it } from 'vitest';
import { refusal, unwrap } from './outcome.ts';

/** What an RPC does to a result: a copy without classes. */
const sent = structuredClone;

describe('the outcome of an RPC', () => {
  it('is the value', () => {
    expect(unwrap(sent({ value: undefined }))).toBeUndefined();
    expect(unwrap(sent({ value: { epoch: 3 } }))).toEqual({ epoch: 3 });
  });

  it.each([
    {},
    { param: 'model' },
    { retryAfterSeconds: 7, route: 'replicas=0' },
    { param: 'model', retryAfterSeconds: 7 },
  ])('is the error it was, with %j', (extra) => {
    const error = new CognitoraError('no_capacity', 'All replicas are full.', extra);
    let thrown: unknown;
    try {
      unwrap(sent(refusal(error)));
    } catch (caught) {
      thrown = caught;
    }
    expect(thrown).toBeInstanceOf(CognitoraError);
    expect(thrown).toEqual(error);
  });
});
