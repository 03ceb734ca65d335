/** Daemons as processes that fetch from each other, as Redis clients see it: values whole, or none, whoever dies. */
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FabricPeer } from '@cognitora/protocol/kv-daemon';
import { expect, onTestFinished, test } from 'vitest';
import { namespaceOf } from '../../kvcache/src/namespaces.ts';
import { keyDigest } from '../../kvcache/src/peers/key-digest.ts';
import { newAuthority, newNodeKey } from '../../kvcache/src/peers/testing/authority.ts';
import { until } from '../harness/until.ts';
import { Client, type Daemon, startDaemon } from './daemon.ts';
import { type AgentEnd, Directory, openFleetLines } from './fleet-lines.ts';

const mebibyte = 2 ** 20;

/** Of database 0; database 1 has none. */
const fields = { model: 'm' };

interface Host {
  readonly daemon: Daemon;
  readonly client: Client;
  readonly agent: AgentEnd;
  readonly member: FabricPeer;
  /** Where its engine offloads to, if it mirrors one. */
  readonly directory: string;
}

/** Takes what engines of other hosts write, from those 32 MiB at most. */
const mirrorOf = (directory: string): string =>
  `[[mirror]]\ndirectory = "${directory}"\nfields = { model = "m" }\nmax_bytes = "64MiB"\nreplicate = true\n`;

const fleetOf = (...options: readonly (readonly string[])[]): ReturnType<typeof fleetWith> =>
  fleetWith(() => '', ...options);

const fleetWith = async (
  configOf: (directory: string) => string,
  ...options: readonly (readonly string[])[]
): Promise<{ hosts: Host[]; directory: Directory }> => {
  const [authority, fleet] = [newAuthority(), new Directory()];
  const hosts = await Promise.all(
    options.map(async (more) => {
      const data = mkdtempSync(join(tmpdir(), 'kv-fleet-'));
      onTestFinished(() => rmSync(data, { recursive: true, force: true }));
      const key = newNodeKey();
      const identity = join(data, 'node.key');
      writeFileSync(identity, key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const config = join(data, 'kvcached.toml');
      const directory = join(data, 'offload');
      mkdirSync(directory);
      writeFileSync(config, `[[namespace]]\ndatabase = 0\nfields = { model = "m" }\n${configOf(directory)}`);
      const sizes = ['--disk', '0', '--ram', '128MiB'];
      const plain = ['--config', config, '--data-dir', data, ...sizes, '--identity', identity];
      const daemon = await startDaemon(...plain, '--peers', '127.0.0.1:0', ...more);
      const { node } = key;
      const agent = await openFleetLines(daemon.socket, node, fleet);
      const self = await until('self', () => agent.lines.find((line) => line.type === 'self'));
      const { publicKey, addresses } = self;
      expect(publicKey).toBe(key.publicKey.toString('base64url'));
      const certificate = authority.certify(key);
      const member = { node, name: 'host', publicKey, addresses };
      return { daemon, agent, member, certificate, directory, client: await Client.open(daemon.port) };
    }),
  );
  const peers = hosts.map(({ member }) => member);
  for (const { agent, certificate } of hosts)
    agent.say({ type: 'fabric', ca: authority.ca, certificate, peers });
  return { hosts, directory: fleet };
};

const held = (directory: Directory, key: string, hosts: number): Promise<unknown> =>
  until(
    `${key} at ${hosts}`,
    () => directory.of(keyDigest(`${namespaceOf(fields)}:${key}`)).length === hosts,
  );

const reached = ({ agent }: Host, peers: number): Promise<unknown> =>
  until('reach', () => {
    const line = agent.lines.findLast(({ type }) => type === 'reach');
    return line?.type === 'reach' && line.peers.length === peers;
  });

const hashOf = (bytes: unknown): string =>
  Buffer.isBuffer(bytes) ? createHash('sha256').update(bytes).digest('hex') : String(bytes);

test('what an engine stores on one host an engine on another reads, and knows to be there', async () => {
  const { hosts, directory } = await fleetOf([], []);
  const [one, other] = hosts as [Host, Host];
  await reached(one, 1);
  const values = Array.from({ length: 8 }, () => randomBytes(mebibyte));
  for (const [index, value] of values.entries()) await one.client.ask('SET', `k${index}`, value);
  await held(directory, 'k7', 1);
  expect(await other.client.ask('EXISTS', 'k0', 'k7', 'k8')).toBe(2);
  for (const [index, value] of values.entries()) {
    expect(hashOf(await other.client.ask('GET', `k${index}`))).toBe(hashOf(value));
  }
  expect(await other.client.ask('GET', 'k8')).toBeNull();
  await held(directory, 'k7', 2);
  // Of a database without fields nobody knows what its values were computed with.
  for (const { client } of [one, other]) await client.ask('SELECT', '1');
  await one.client.ask('SET', 'k0', 'unnamed');
  await one.client.ask('SET', 'k9', 'unnamed');
  expect(await other.client.ask('EXISTS', 'k0', 'k9')).toBe(0);
  expect(await other.client.ask('GET', 'k0')).toBeNull();
  await other.client.ask('SELECT', '0');
  expect(await one.daemon.end('SIGTERM')).toBe(0);
  expect(hashOf(await other.client.ask('GET', 'k3'))).toBe(hashOf(values[3]));
});

test('a holder is killed in the midst: another brings the rest, or the value is missing, never wrong', async () => {
  const slow = ['--bandwidth-max', '8MiB/s'];
  const { hosts, directory } = await fleetOf(slow, slow, []);
  const [one, other, asker] = hosts as [Host, Host, Host];
  const values = [randomBytes(6 * mebibyte), randomBytes(6 * mebibyte)];
  for (const { client } of [one, other]) await client.ask('SET', 'both', values[0] ?? '');
  await other.client.ask('SET', 'only', values[1] ?? '');
  await held(directory, 'both', 2);
  await held(directory, 'only', 1);
  await reached(asker, 2);
  const received = async ({ member }: Host): Promise<number> => {
    const page = await (await fetch(`${asker.daemon.statusUrl}/metrics`)).text();
    const rows = page.matchAll(/^cognitora_kv_peer_received_bytes_total\{(.*)\} (\d+)$/gm);
    return [...rows].reduce((sum, [, of, bytes]) => sum + (of?.includes(member.node) ? Number(bytes) : 0), 0);
  };
  const before = [await received(one), await received(other)];
  const both = asker.client.ask('GET', 'both');
  const dying = await until('bytes on their way', async () => {
    if ((await received(one)) - (before[0] ?? 0) >= mebibyte) return one;
    return (await received(other)) - (before[1] ?? 0) >= mebibyte && other;
  });
  await dying.daemon.end('SIGKILL');
  expect(hashOf(await both)).toBe(hashOf(values[0]));
  const only = asker.client.ask('GET', 'only');
  await other.daemon.end('SIGKILL');
  expect(await only).toBeNull();
  expect(await asker.client.ask('PING')).toBe('+PONG');
});

test('a holder that stops and says nothing more is a miss in time, and serves again when it goes on', async () => {
  const { hosts, directory } = await fleetOf([], []);
  const [one, asker] = hosts as [Host, Host];
  const value = randomBytes(mebibyte);
  await one.client.ask('SET', 'k', value);
  await held(directory, 'k', 1);
  await reached(asker, 1);
  process.kill(one.daemon.pid, 'SIGSTOP');
  expect(await asker.client.ask('GET', 'k')).toBeNull();
  process.kill(one.daemon.pid, 'SIGCONT');
  await until('the value', async () => hashOf(await asker.client.ask('GET', 'k')) === hashOf(value), 20_000);
});

test('a file that an engine writes is in the directory of another host within seconds, within its bound', async () => {
  const { hosts } = await fleetWith(mirrorOf, [], []);
  const [one, other] = hosts as [Host, Host];
  await reached(other, 1);
  const values = Array.from({ length: 6 }, () => randomBytes(8 * mebibyte));
  const write = (index: number): void => {
    const path = join(one.directory, `block${index}.bin`);
    writeFileSync(`${path}_1.tmp`, values[index] ?? '');
    renameSync(`${path}_1.tmp`, path);
  };
  const there = (): string[] => {
    const names = readdirSync(other.directory).filter((name) => name.endsWith('.bin'));
    for (const name of names) {
      const path = join(other.directory, name);
      // One may go for a newer one between the listing and now.
      if (existsSync(path))
        expect(values[Number(name.charAt(5))]?.equals(readFileSync(path)), name).toBe(true);
    }
    return names.sort();
  };
  for (const index of [0, 1]) write(index);
  await until('both files', () => there().length === 2, 20_000);
  for (const index of [2, 3, 4, 5]) write(index);
  const newest = [2, 3, 4, 5].map((index) => `block${index}.bin`);
  await until('the newest', () => there().join() === newest.join(), 20_000);
  expect(readdirSync(one.directory)).toHaveLength(6);
  await until('the count', async () => {
    const page = await (await fetch(`${other.daemon.statusUrl}/metrics`)).text();
    return /^cognitora_kv_mirror_replicated_total\{.*\} 6$/m.test(page);
  });
});
