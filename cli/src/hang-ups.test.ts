import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { hungUpClients } from './hang-ups.ts';

const head =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const line = (local: string, remote: string, state: string): string =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000\n`;

test('clients of our port that closed are found, and no others', () => {
  const table =
    head +
    line('0100007F:1F90', '0100007F:D431', '01') +
    line('0100007F:1F90', '0200000A:D432', '08') +
    line('0100007F:1F91', '0100007F:D433', '08') +
    line('0100007F:D434', '0100007F:1F90', '08') +
    line('0100007F:1F90', '0100007F:0001', '08');
  expect(hungUpClients(table, 8080)).toEqual(['10.0.0.2:54322', '127.0.0.1:1']);
  expect(hungUpClients(table, 80)).toEqual([]);
  expect(hungUpClients('', 8080)).toEqual([]);
});

test.each([
  ['00000000000000000000000001000000', '[::1]:54322'],
  ['0000000000000000FFFF00000100007F', '[::ffff:127.0.0.1]:54322'],
  ['B80D0120000000000000000001000000', '[2001:db8::1]:54322'],
])('an address of IPv6 is written as workerd does (%s)', (hex, client) => {
  const local = '00000000000000000000000001000000:1F90';
  expect(hungUpClients(head + line(local, `${hex}:D432`, '08'), 8080)).toEqual([client]);
});

const onLinux = test.skipIf(!existsSync('/proc/net/tcp'));

onLinux('the kernel’s own table says when a client has closed', async () => {
  const accepted: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => accepted.push(socket));
  onTestFinished(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  await new Promise<void>((accept) => server.listen(0, '127.0.0.1', accept));
  const { port } = server.address() as { port: number };
  const client = connect(port, '127.0.0.1');
  await expect.poll(() => accepted.length).toBe(1);
  const clients = (): string[] => hungUpClients(readFileSync('/proc/net/tcp', 'latin1'), port);
  const name = `127.0.0.1:${client.localPort}`;
  expect(clients()).toEqual([]);
  client.destroy();
  await expect.poll(clients).toEqual([name]);
});
