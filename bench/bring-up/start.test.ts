/** The bench reads what `cgn up` prints, as it prints it; and what it takes for a token. */
import { expect, it } from 'vitest';
import { upReport } from '../../cli/src/commands/up-report.ts';
import { hasToken, printedCurl } from './start.ts';

it('finds the curl in the report of cgn up', () => {
  const example = { messages: [{ role: 'user', content: 'Hello' }], stream: true };
  const text = upReport({
    url: 'http://127.0.0.1:8080',
    apiKey: 'cgk_key',
    model: 'tiny',
    surface: { path: '/v1/chat/completions', example, probe: {} },
    isToy: true,
    isUnnamed: false,
    dataDirectory: '/tmp/data',
    port: 8_080,
    seconds: '1.0',
  });
  const { url, authorization, body } = printedCurl(text);
  expect([url, authorization]).toEqual(['http://127.0.0.1:8080/v1/chat/completions', 'Bearer cgk_key']);
  expect(JSON.parse(body)).toEqual({ model: 'tiny', ...example });
  expect(() => printedCurl('nothing')).toThrow(/printed no curl/);
});

it('counts no delta that only names the role, no comment and no end as a token', () => {
  const line = (delta: object): string => `data: ${JSON.stringify({ choices: [{ delta }] })}`;
  expect(hasToken(line({ content: 'a' }))).toBe(true);
  for (const none of [
    line({ role: 'assistant', content: '' }),
    line({ role: 'assistant', content: null }),
    line({}),
    ': keep-alive',
    'data: {"choices":[],"usage":{}}',
    'data: [DONE]',
    '',
  ]) {
    expect(hasToken(none)).toBe(false);
  }
});
