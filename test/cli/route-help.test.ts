/** Rooms do not import each other, so that what the help of one says of another is compared here. */
import { expect, test } from 'vitest';
import { routeHelp } from '../../cli/src/commands/route.ts';
import { policies } from '../../edge/src/policy/policy.ts';

test('the help of cgn route lists each policy, the default first', () => {
  const [, listed = ''] = routeHelp.split('Policies\n');
  const [lines = ''] = listed.split('\n\n');
  expect(lines.match(/^ {2}\S+/gm)?.map((name) => name.trim())).toEqual(policies.map(({ name }) => name));
});
