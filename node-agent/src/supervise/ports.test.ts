import { createServer, type Server } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { PortAllocator } from './ports.ts';

const listen = (port: number): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    onTestFinished(() => void server.close());
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });

test('engines of one host get ports of their own, in a row where they need several', async () => {
  const ports = new PortAllocator();
  const rows = await Promise.all(Array.from({ length: 8 }, () => ports.row(3)));
  const all = rows.flatMap((first) => [first, first + 1, first + 2]);
  expect(new Set(all).size).toBe(24);
  await Promise.all(all.map(listen));
  // So many that the system, which forgets what it gave, would give some of them twice.
  const many = new Set<number>();
  for (let engine = 0; engine < 500; engine += 1) many.add(await ports.row(1));
  expect(many.size).toBe(500);
});

test('an engine keeps its ports over restarts, unless somebody has taken one of them', async () => {
  const ports = new PortAllocator();
  const first = await ports.row(2);
  expect(await ports.row(2, first)).toBe(first);
  await listen(first + 1);
  const next = await ports.row(2, first);
  expect(Math.abs(next - first)).toBeGreaterThanOrEqual(2);
});
