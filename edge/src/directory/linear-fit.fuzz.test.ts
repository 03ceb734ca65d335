/** Lines that are learned from samples, whatever the line and the noise are. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seededRandom } from '../../testing/random.ts';
import { LinearFit } from './linear-fit.ts';

const prior = [
  { value: 10, spread: 40 },
  { value: 5, spread: 20 },
];
const line = fc.record({
  base: fc.double({ min: 5, max: 60, noNaN: true }),
  slope: fc.double({ min: 0.5, max: 30, noNaN: true }),
  seed: fc.nat(10_000),
});

interface Line {
  readonly base: number;
  readonly slope: number;
  readonly seed: number;
}

const learned = ({ base, slope, seed }: Line, samples: number, outlierShare: number): LinearFit => {
  const random = seededRandom(seed);
  const fit = new LinearFit({ prior, floor: 1 });
  for (let seen = 0; seen < samples; seen += 1) {
    const features = Float64Array.of(1, 20 * random());
    const trueValue = base + slope * (features[1] ?? 0);
    const noise = 0.95 + 0.1 * random();
    fit.learn(features, trueValue * noise * (random() < outlierShare ? 10 : 1));
  }
  return fit;
};

const errorAt = (fit: LinearFit, { base, slope }: Line, x: number): number =>
  Math.abs(fit.predict(Float64Array.of(1, x)) / (base + slope * x) - 1);

test('any line within reach of the prior is found', () => {
  fc.assert(
    fc.property(line, (drawn) => {
      const fit = learned(drawn, 600, 0);
      for (const x of [5, 10, 20]) expect(errorAt(fit, drawn, x)).toBeLessThan(0.2);
    }),
  );
});

test('one sample in ten that is ten times too high moves 97 lines of 100 by half at most', () => {
  const random = seededRandom(17);
  const lines = Array.from({ length: 300 }, (_, seed) => ({
    ...{ base: 5 + 55 * random(), slope: 0.5 + 29.5 * random(), seed },
  }));
  const isNear = (drawn: Line): boolean => {
    const fit = learned(drawn, 600, 0.1);
    return [5, 10, 20].every((x) => errorAt(fit, drawn, x) < 0.5);
  };
  expect(lines.filter(isNear).length).toBeGreaterThanOrEqual(291);
});

test('whatever is observed, predictions stay finite and not negative', () => {
  const sample = fc.tuple(
    fc.double({ min: 0, max: 1e5, noNaN: true }),
    fc.double({ min: 0, max: 1e9, noNaN: true }),
  );
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 200 }), (samples) => {
      const fit = new LinearFit({ prior, floor: 1 });
      for (const [x, observed] of samples) fit.learn(Float64Array.of(1, x), observed);
      const predicted = fit.predict(Float64Array.of(1, 100));
      expect(Number.isFinite(predicted) && predicted >= 0).toBe(true);
      expect(fit.samples).toBe(samples.length);
    }),
  );
});

test('before the first sample it is the prior', () => {
  const fit = new LinearFit({ prior, floor: 1 });
  expect(fit.predict(Float64Array.of(1, 3))).toBe(25);
});
