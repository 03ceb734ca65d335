import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startStatusServer } from './status-server.ts';

const started = async (): Promise<number> => {
  const server = await startStatusServer({ host: '127.0.0.1', port: 0 }, () => 'a_metric 1\n');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
};

const get = (port: number, path: string, host: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, headers: { host } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.once('error', reject).end();
  });

test('metrics and health are told by this host’s own names, and not by another’s', async () => {
  const port = await started();
  for (const host of [`127.0.0.1:${port}`, 'localhost', `[::1]:${port}`]) {
    expect(await get(port, '/metrics?x', host)).toEqual({ status: 200, text: 'a_metric 1\n' });
    expect(await get(port, '/healthz', host)).toEqual({ status: 200, text: 'ok\n' });
  }
  expect(await get(port, '/metrics', 'rebound.example')).toMatchObject({ status: 403 });
  expect(await get(port, '/else', 'localhost')).toMatchObject({ status: 404 });
});
