import { describe, expect, it } from 'vitest';
import { openServer } from './server.ts';

const open = (port = 0) => openServer({ host: '127.0.0.1', port }, () => {});

describe('the server before the model is there', () => {
  it('answers 503 in the shape of OpenAI on every route, and knows its routes already', async () => {
    const server = await open();
    const health = await fetch(`${server.url}/health`);
    expect(health.status).toBe(503);
    expect(await health.json()).toMatchObject({ error: { type: 'server_error', code: 'model_loading' } });
    const chat = await fetch(`${server.url}/v1/chat/completions?x=1`, { method: 'POST', body: '{}' });
    expect([chat.status, chat.headers.get('retry-after')]).toEqual([503, '2']);
    expect((await fetch(`${server.url}/__proto__`)).status).toBe(404);
    expect((await fetch(`${server.url}/health`, { method: 'POST' })).headers.get('allow')).toBe('GET');
    await server.stop();
    await expect(fetch(`${server.url}/health`)).rejects.toThrow();
  });

  it('says which port is taken', async () => {
    const server = await open();
    const { port } = new URL(server.url);
    await expect(open(Number(port))).rejects.toThrow(new RegExp(`127.0.0.1:${port}.*--port 0`));
    await server.stop();
  });
});
