import { toBase64Url } from '@cognitora/protocol/bytes';
import { quietMs } from '@cognitora/protocol/limits';
import { supervisorText } from '@cognitora/protocol/supervisor';
import { expect, test } from 'vitest';
import { envOf, fleetSecret } from '../../testing/env.ts';
import { fleetHmac } from '../identity/tokens.ts';
import { watchClient } from '../link/client-watch.ts';
import { hearHangUps } from './hang-ups.ts';

const selfHosted = envOf({ PLATFORM: 'self-hosted' });
const tokenOf = async (secret: string): Promise<string> =>
  toBase64Url(await fleetHmac(secret, supervisorText));
const token = await tokenOf(fleetSecret);

const report = (body: unknown, authorization: string = `Bearer ${token}`): Request => {
  const stream = new ReadableStream({
    type: 'bytes',
    start: (controller) => {
      controller.enqueue(new TextEncoder().encode(JSON.stringify(body)));
      controller.close();
    },
  } as UnderlyingByteSource);
  const init = { method: 'POST', headers: { authorization }, body: stream, duplex: 'half' };
  return new Request('http://edge.example/', init as RequestInit);
};

test('the supervisor is heard, and told how many clients wait on silence', async () => {
  const told: number[] = [];
  const clients = [1, 2, 3].map((port) =>
    watchClient(
      `127.0.0.1:${port}`,
      () => Date.now() - quietMs,
      () => told.push(port),
    ),
  );
  const answer = await hearHangUps(report({ hungUp: ['127.0.0.1:2', 7] }), selfHosted);
  expect(await answer.json()).toEqual({ quiet: 2 });
  expect(told).toEqual([2]);
  for (const client of clients) client.over();
});

test.each([
  ['nothing', ''],
  ['an API key', 'Bearer cgk_x'],
  ['another secret', `Bearer ${await tokenOf('x'.repeat(32))}`],
  ['the token cut short', `Bearer ${token.slice(0, -2)}`],
])('whoever shows %s is refused', async (_, authorization) => {
  const reading = hearHangUps(report({ hungUp: [] }, authorization), selfHosted);
  await expect(reading).rejects.toMatchObject({ code: 'invalid_key' });
});

test('on Workers there is no such path', async () => {
  await expect(hearHangUps(report({ hungUp: [] }), envOf())).rejects.toMatchObject({ code: 'not_found' });
});

test.each([[{}], [{ hungUp: 'x' }], [{ hungUp: Array.from({ length: 5_000 }, () => 'x') }]])(
  'a report that is none is refused',
  async (body) => {
    await expect(hearHangUps(report(body), selfHosted)).rejects.toMatchObject({ code: 'invalid_request' });
  },
);
