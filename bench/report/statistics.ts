/**
 * The few statistics that results are told in. Pure. An empty sample has no figure: NaN, which tables show as
 * a dash.
 */

/** Sorts numbers without touching the input. */
const sorted = (values: readonly number[]): number[] => [...values].sort((left, right) => left - right);

/** The quantile at `share` (0 to 1), linear between neighbours. */
export const quantile = (values: readonly number[], share: number): number => {
  const ordered = sorted(values);
  if (ordered.length === 0) return Number.NaN;
  const at = (ordered.length - 1) * share;
  const low = ordered[Math.floor(at)] ?? Number.NaN;
  const high = ordered[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
};

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Between the first and the third quartile: the spread that outliers do not own. */
export const interquartileRange = (values: readonly number[]): number =>
  quantile(values, 0.75) - quantile(values, 0.25);

/** Slope of the least-squares line through (x, y) points, in y per x; NaN for fewer than two different x. */
export const slope = (points: readonly { readonly x: number; readonly y: number }[]): number => {
  const count = points.length;
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / count;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / count;
  let covariance = 0;
  let variance = 0;
  for (const { x, y } of points) {
    covariance += (x - meanX) * (y - meanY);
    variance += (x - meanX) ** 2;
  }
  return variance === 0 ? Number.NaN : covariance / variance;
};

/** Median, p99 and the rest of a sample, as results keep it. */
export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export const summarize = (values: readonly number[]): Summary => ({
  count: values.length,
  p50: rounded(quantile(values, 0.5)),
  p90: rounded(quantile(values, 0.9)),
  p99: rounded(quantile(values, 0.99)),
  max: rounded(quantile(values, 1)),
});

/** Three decimals: beyond them it is noise, and results stay readable. */
export const rounded = (value: number): number => Math.round(value * 1000) / 1000;
