import { queryCharsMax } from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { queryOf } from './dispatch.ts';

const path = 'http://edge.example/v1/chat/completions';

test.each([
  ['', ''],
  ['?', ''],
  ['?a=1&b', '?a=1&b'],
  ['?a=1?b=2', '?a=1?b=2'],
  ['?a=1#part?b', '?a=1'],
  ['#part?b', ''],
  ["?it's<new> é", '?it%27s%3Cnew%3E%20%C3%A9'],
])('behind the path, %j is the query %j', (written, query) => {
  expect(queryOf(`${path}${written}`)).toBe(query);
});

test.each(['a b', '[', 'x:99999', '%', '', 'ho?st'])('a Host of %j costs the query nothing', (host) => {
  expect(queryOf(`http://${host}/v1/chat/completions?a=1`)).toBe('?a=1');
  expect(queryOf(`http://${host}/v1/chat/completions`)).toBe('');
});

test('a query beyond its bound is refused', () => {
  const longest = `?${'x'.repeat(queryCharsMax - 1)}`;
  expect(queryOf(path + longest)).toBe(longest);
  expect(() => queryOf(`${path}${longest}x`)).toThrow(`${queryCharsMax} characters`);
});
