import { utf8 } from '@cognitora/protocol/bytes';
import { expect, test } from 'vitest';
import { answerJson, bodyOf, engineAt, serveHttp } from '../../testing/http-engine.ts';
import { probeVolunteeredUsage, volunteeredIn } from './probe.ts';

const events = (...values: unknown[]): string =>
  `${values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join('')}data: [DONE]\n\n`;

test.each([
  ['nothing', events({ choices: [] })],
  ['nothing', ''],
  ['nothing', 'data: [DONE]\n\n'],
  ['nothing', events({ choices: [{ delta: { content: '"usage":null' } }] })],
  ['null', events({ choices: [], usage: null }, { choices: [], usage: null })],
  ['usage', events({ choices: [], usage: null }, { choices: [], usage: { prompt_tokens: 1 } })],
  ['usage', events({ choices: [], usage: { prompt_tokens: 1 } }, { choices: [], usage: null })],
])('a stream that volunteers %s is known by it', (volunteered, stream) => {
  expect(volunteeredIn(utf8(stream))).toBe(volunteered);
});

test('each endpoint is asked by itself, for one streamed token, without include_usage', async () => {
  const asked: Record<string, Record<string, unknown>> = {};
  const url = await serveHttp(async (request, response) => {
    asked[request.url ?? ''] = JSON.parse(await bodyOf(request));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(request.url === '/v1/completions' ? events({ usage: null }) : events({ choices: [] }));
  });
  const volunteered = await probeVolunteeredUsage(engineAt(url), 'served');
  expect([...volunteered]).toEqual([
    ['/v1/chat/completions', 'nothing'],
    ['/v1/completions', 'null'],
  ]);
  for (const body of Object.values(asked)) {
    expect(body).toMatchObject({ model: 'served', stream: true, max_tokens: 1 });
    expect(body).not.toHaveProperty('stream_options');
  }
});

test('a model that takes no such request volunteers nothing; one that still loads is not ready', async () => {
  const refusing = engineAt(await serveHttp((_, response) => answerJson(response, { error: {} }, 400)));
  expect((await probeVolunteeredUsage(refusing, 'm')).get('/v1/completions')).toBe('nothing');
  const loading = engineAt(await serveHttp((_, response) => answerJson(response, { error: {} }, 503)));
  await expect(probeVolunteeredUsage(loading, 'm')).rejects.toThrow(/loading/);
});
