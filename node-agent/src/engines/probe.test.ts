import { volunteersNothing } from '@cognitora/protocol/volunteered';
import { expect, test } from 'vitest';
import { answerJson, bodyOf, engineAt, serveHttp } from '../../testing/http-engine.ts';
import { probeVolunteered } from './probe.ts';

const events = (...values: unknown[]): string =>
  `${values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join('')}data: [DONE]\n\n`;

test('each endpoint is asked by itself, for one streamed token, without include_usage', async () => {
  const asked: Record<string, Record<string, unknown>> = {};
  const end = { choices: [{ finish_reason: 'length' }], system_fingerprint: 'a' };
  const url = await serveHttp(async (request, response) => {
    asked[request.url ?? ''] = JSON.parse(await bodyOf(request));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(request.url === '/v1/completions' ? events({ usage: null }) : events(end));
  });
  const volunteered = await probeVolunteered(engineAt(url), 'served');
  expect([...volunteered]).toMatchObject([
    ['/v1/chat/completions', { usage: 'nothing', finish: [{ name: 'system_fingerprint' }] }],
    ['/v1/completions', { usage: 'null', finish: [] }],
  ]);
  for (const body of Object.values(asked)) {
    expect(body).toMatchObject({ model: 'served', stream: true, max_tokens: 1 });
    expect(body).not.toHaveProperty('stream_options');
  }
});

test('a model that takes no such request volunteers nothing; one that still loads is not ready', async () => {
  const refusing = engineAt(await serveHttp((_, response) => answerJson(response, { error: {} }, 400)));
  expect((await probeVolunteered(refusing, 'm')).get('/v1/completions')).toEqual(volunteersNothing);
  const loading = engineAt(await serveHttp((_, response) => answerJson(response, { error: {} }, 503)));
  await expect(probeVolunteered(loading, 'm')).rejects.toThrow(/loading/);
});
