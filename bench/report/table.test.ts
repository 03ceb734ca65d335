/** Tables line up, and say "-" where there is no figure. */
import { expect, it } from 'vitest';
import { table } from './table.ts';

it('aligns the first column left and the others right', () => {
  expect(
    table(
      ['what', 'ms'],
      [
        ['a', 1.5],
        ['longer', Number.NaN],
        ['n', 1234.5],
      ],
    ),
  ).toBe(['what      ms', '------  ----', 'a       1.50', 'longer     -', 'n       1235'].join('\n'));
});
