import fc from 'fast-check';
import { expect, test } from 'vitest';
import { samplesOf } from './prometheus.ts';

const name = fc.stringMatching(/^[a-zA-Z_:][a-zA-Z0-9_:]{0,20}$/);
const labels = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.string({ unit: 'grapheme' }), {
  maxKeys: 4,
});
const sample = fc.record({ name, labels, value: fc.integer({ min: -1_000_000, max: 1_000_000 }) });

const escaped = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

const lineOf = ({
  name: called,
  labels: with_,
  value,
}: typeof sample extends fc.Arbitrary<infer S> ? S : never) => {
  const shown = Object.entries(with_).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${called}${shown.length === 0 ? '' : `{${shown.join(',')}}`} ${value}`;
};

/** A carriage return inside a label would end the line for other readers too. */
const noise = fc.string({ unit: 'grapheme' }).map((text) => `# ${text.replaceAll(/[\r\n]/g, ' ')}`);

test('what was written by the format is read back, whatever stands between', () => {
  fc.assert(
    fc.property(fc.array(sample), noise, (samples, comment) => {
      const page = samples.map(lineOf).join(`\n${comment}\n\n`);
      const found = samplesOf(page, new Set(samples.map(({ name: called }) => called)));
      const sums = new Map<string, number>();
      for (const { name: called, value } of samples) sums.set(called, (sums.get(called) ?? 0) + value);
      expect([...found].map(([called, { sum }]) => [called, sum])).toEqual([...sums]);
    }),
  );
});

test('any text at all is read without a throw, and gives finite numbers of asked names only', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(fc.constantFrom('m', '{', '}', '"', '\\', ' ', '1', '\n', 'e9', '-', '#'))
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (page) => {
      for (const [called, { sum, count }] of samplesOf(page, new Set(['m']))) {
        expect([called, Number.isFinite(sum), count > 0]).toEqual(['m', true, true]);
      }
    }),
    { numRuns: 2_000 },
  );
});
