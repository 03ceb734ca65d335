/** Who is believed how far, after what its engine reported. */
import type { Trust } from '@cognitora/protocol/kv';
import { describe, expect, test } from 'vitest';
import { Truth } from './truth.ts';

const after = (requests: number, reportedTokens: number, truth = new Truth()): Truth => {
  for (let done = 0; done < requests; done += 1) truth.compare(1000, reportedTokens);
  return truth;
};
const limits = (truth: Truth): Trust[] =>
  (['exact', 'approximate', 'blind'] as const).map((of) => truth.limit(of));

describe('a replica', () => {
  test('is believed until there is something to judge by', () => {
    expect(after(15, 0)).toMatchObject({
      share: 1,
      requests: 15,
      predictedTokens: 15_000,
      confirmedTokens: 0,
    });
    expect(limits(after(15, 0))).toEqual(['exact', 'approximate', 'blind']);
  });

  test('that holds what it claims keeps what it announces', () => {
    expect(after(100, 1000).share).toBe(1);
    expect(limits(after(100, 810))).toEqual(['exact', 'approximate', 'blind']);
  });

  test('whose claims fall short is approximate, then blind, and never more than it announces', () => {
    expect(limits(after(16, 790))).toEqual(['approximate', 'approximate', 'blind']);
    expect(limits(after(16, 490))).toEqual(['blind', 'blind', 'blind']);
  });

  test('gains nothing by having more than it claimed', () => {
    const boasted = after(16, 700);
    expect(after(16, 1_000_000, boasted).share).toBeCloseTo(0.85);
  });

  test('comes back once its latest claims hold', () => {
    const liar = after(64, 0);
    expect(liar.limit('exact')).toBe('blind');
    const trustAfter = [0, 33, 19, 12].map((more) => after(more, 1000, liar).limit('exact'));
    expect(trustAfter).toEqual(['blind', 'approximate', 'exact', 'exact']);
    expect(liar).toMatchObject({ share: 1, predictedTokens: 64_000, confirmedTokens: 64_000 });
  });

  test('that begins anew is judged anew, and until then believed as before', () => {
    const liar = after(64, 0);
    liar.forget();
    expect(liar).toMatchObject({ share: 0, requests: 0, predictedTokens: 0, confirmedTokens: 0 });
    expect(liar.limit('exact')).toBe('blind');
    expect(after(16, 1000, liar).limit('exact')).toBe('exact');
    const honest = after(64, 1000);
    honest.forget();
    expect(honest.limit('exact')).toBe('exact');
  });

  test('that begins anew before it was judged is judged all the same', () => {
    const liar = after(15, 0);
    liar.forget();
    expect(after(1, 0, liar).share).toBe(0);
  });

  test('is not judged by a few tokens', () => {
    const truth = new Truth();
    for (let done = 0; done < 100; done += 1) truth.compare(127, 0);
    expect(truth).toMatchObject({ requests: 0, share: 1 });
  });
});
