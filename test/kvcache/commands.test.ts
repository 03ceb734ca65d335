/** `cgn kv` and `cgn kvcached` as a person and a service manager run them, against a real daemon. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { newAuthority, newNodeKey } from '../../kvcache/src/peers/testing/authority.ts';
import { readUnit } from '../../scripts/service-unit.ts';
import { cgn } from '../cli/run-cgn.ts';
import { environmentAt } from '../harness/environment.ts';
import { until } from '../harness/until.ts';
import { Client, startDaemon } from './daemon.ts';
import { Directory, openFleetLines } from './fleet-lines.ts';

const mebibyte = 2 ** 20;

const directoryOf = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'kvcached-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

const metricsOf = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();

test('a person lists, pins and removes what an engine stored, and sees whether it is well', async () => {
  const directory = directoryOf();
  const daemon = await startDaemon('--data-dir', directory, '--ram', '64MiB', '--disk', '1GiB');
  const client = await Client.open(daemon.port);
  await client.ask('SET', 'plain', 'value');
  await client.ask('SET', 'with space', Buffer.alloc(5_000), 'EX', '1000');
  const kv = (...argv: readonly string[]) => cgn(['kv', ...argv, '--data-dir', directory]);

  const listed = await kv();
  expect(listed.status).toBe(0);
  expect(listed.out).toMatch(/^KEY +BYTES +TIER +PINNED +ENDS$/m);
  expect(listed.out).toMatch(/^db0:with%20space +5000 +ram +- +in 17 min$/m);
  expect(await kv('pin', 'db0:with%20space', 'db0:none')).toMatchObject({
    status: 1,
    out: '1 value pinned.\n',
    errors: 'Not there: db0:none\n',
  });
  const doctor = await kv('doctor');
  expect(doctor).toMatchObject({ status: 0, errors: '' });
  expect(doctor.out).toContain('ok      a value: 1.0 MB came back as written');
  expect(await metricsOf(daemon.statusUrl)).toMatch(/^cognitora_kv_pinned_bytes\{tier="ram"\} 8192$/m);
  expect(doctor.out).toContain('note    peers: This kvcached has no peers');
  expect(await kv('rm', '--prefix', 'db0:')).toMatchObject({ status: 0, out: '2 values removed.\n' });
  expect(await client.ask('GET', 'plain')).toBeNull();
  const second = await cgn([
    'kvcached',
    '--data-dir',
    directory,
    '--listen',
    '127.0.0.1:0',
    '--status',
    'off',
  ]);
  expect(second).toMatchObject({ status: 2, errors: expect.stringContaining('another kvcached answers on') });
  client.close();
}, 60_000);

test('as the service runs it: what waits is on the disk when it ends, in the time that it is given', async () => {
  const { valuesOf } = readUnit('docs/cognitora-kvcached.service');
  const stopMsMax = 1_000 * Number(valuesOf('TimeoutStopSec')[0]);
  const directory = directoryOf();
  // Its ExecStart and variables; the manager sends SIGTERM to `cgn` alone (KillMode=mixed).
  expect(valuesOf('ExecStart')[0]).toMatch(/bin\/cgn kvcached$/);
  const started = async () => {
    const program = join(import.meta.dirname, '../../cli/src/cgn.ts');
    const child = spawn(process.execPath, [program, 'kvcached'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...environmentAt(directory),
        COGNITORA_KV_DATA_DIR: directory,
        COGNITORA_KV_LISTEN: '127.0.0.1:0',
        COGNITORA_KV_STATUS: 'off',
        COGNITORA_KV_RAM: '256MiB',
        COGNITORA_KV_DISK: '1GiB',
      },
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const line = await new Promise<string>((resolve) => createInterface(child.stdout).once('line', resolve));
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    return { child, ended, ...(JSON.parse(line) as { resp: { port: number }; values: number }) };
  };
  const first = await started();
  const client = await Client.open(first.resp.port);
  // In one command, so that all of them wait for the disk when the signal comes.
  const pairs = Array.from({ length: 48 }, (_, index) => [`k${index}`, Buffer.alloc(mebibyte, index)]);
  expect(await client.ask('MSET', ...pairs.flat())).toBe('+OK');
  const askedMs = performance.now();
  first.child.kill('SIGTERM');
  expect(await first.ended).toBe(0);
  expect(performance.now() - askedMs).toBeLessThan(stopMsMax);
  const second = await started();
  expect(second.values).toBe(48);
  second.child.kill('SIGTERM');
  expect(await second.ended).toBe(0);
}, 60_000);

test('the doctor writes to the other host and reads again, and names the field in which the two differ', async () => {
  const [authority, directory] = [newAuthority(), new Directory()];
  const hosts = await Promise.all(
    ['tp1', 'tp2'].map(async (layout) => {
      const data = directoryOf();
      const key = newNodeKey();
      const [identity, config] = [join(data, 'node.key'), join(data, 'kvcached.toml')];
      writeFileSync(identity, key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const fields = `{ model = "m", layout = "${layout}", block_tokens = 256 }`;
      writeFileSync(config, `ram = "64MiB"\ndisk = "0"\n[[namespace]]\ndatabase = 0\nfields = ${fields}\n`);
      const told = ['--config', config, '--data-dir', data, '--identity', identity, '--peers', '127.0.0.1:0'];
      const daemon = await startDaemon(...told);
      const agent = await openFleetLines(daemon.socket, key.node, directory);
      const self = await until('self', () => agent.lines.find((line) => line.type === 'self'));
      const member = { node: key.node, name: layout, publicKey: self.publicKey, addresses: self.addresses };
      return { data, agent, member, certificate: authority.certify(key) };
    }),
  );
  const peers = hosts.map(({ member }) => member);
  for (const { agent, certificate } of hosts) {
    agent.say({ type: 'fabric', ca: authority.ca, certificate, peers });
  }
  const [one] = hosts;
  await until('reach', () =>
    one?.agent.lines.some((line) => line.type === 'reach' && line.peers.length === 1),
  );
  const doctor = await cgn(['kv', 'doctor', '--data-dir', one?.data ?? '']);
  expect(doctor.out).toMatch(
    /^ok +peer tp2: n[a-z2-7]{26} by (?:tls|quic), written in [\d.]+ ms, read in [\d.]+ ms$/m,
  );
  expect(doctor.out).toContain('note    m with tp2: nothing is shared: layout is "tp1" here and "tp2" there');
  // It may be meant so.
  expect(doctor.status).toBe(0);
  const stat = await cgn(['kv', 'stat', '--data-dir', one?.data ?? '']);
  expect(stat.out).toMatch(/^tp2 +n[a-z2-7]{26} +(?:tls|quic) /m);
}, 60_000);
