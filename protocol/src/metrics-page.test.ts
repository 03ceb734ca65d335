import { expect, test } from 'vitest';
import { MetricsPage } from './metrics-page.ts';

test('each family is described once, and every label’s value can be read back', () => {
  const page = new MetricsPage();
  page.gauge('g', 'A gauge.', { name: 'a "b"\\c\nd' }, 1);
  page.gauge('g', 'A gauge.', { name: 'e' }, 2.5);
  page.counter('c', 'A counter.', {}, 3);
  expect(page.text).toBe(
    [
      '# HELP g A gauge.',
      '# TYPE g gauge',
      'g{name="a \\"b\\"\\\\c\\nd"} 1',
      'g{name="e"} 2.5',
      '# HELP c A counter.',
      '# TYPE c counter',
      'c{} 3',
      '',
    ].join('\n'),
  );
});
