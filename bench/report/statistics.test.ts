/** The statistics on samples whose answers are known by hand. */
import { describe, expect, it } from 'vitest';
import { interquartileRange, median, quantile, slope, summarize } from './statistics.ts';

describe('statistics', () => {
  it('interpolates between neighbours and ignores the order of the input', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(quantile([10, 20, 30], 0.75)).toBe(25);
    expect(quantile([5], 0.99)).toBe(5);
  });

  it('has no figure for an empty sample', () => {
    expect(median([])).toBeNaN();
    expect(summarize([]).p99).toBeNaN();
  });

  it('does not reorder its input', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  it('measures the spread without its outliers', () => {
    expect(interquartileRange([1, 2, 3, 4, 1000])).toBe(2);
  });

  it('fits a line', () => {
    expect(slope([0, 1, 2, 3].map((x) => ({ x, y: 7 + 2 * x })))).toBeCloseTo(2);
    expect(slope([0, 1, 2].map((x) => ({ x, y: 5 })))).toBe(0);
    expect(slope([{ x: 1, y: 1 }])).toBeNaN();
  });
});
