/**
 * One of two hosts: holds values and serves them, or fetches them into a store of its own, by the transports and the
 * exchanges that daemons use. Both ends have what a fleet gives: a node's key, a certificate of the fleet's CA over it,
 * and a roster of one.
 */
import { generateKeyPairSync } from 'node:crypto';
import type { NodeId } from '@cognitora/protocol/ids';
import type { PeerTransport } from '@cognitora/protocol/kv-daemon';
import { get, newTransfer, type Transfer } from '../../kvcache/src/peers/exchange.ts';
import { nodeKeyOf } from '../../kvcache/src/peers/identity.ts';
import { type Served, ServedNow, serveChannel } from '../../kvcache/src/peers/serve.ts';
import { type Transport, type Trunk, transports } from '../../kvcache/src/peers/transport.ts';
import { KvStore, type NewValue } from '../../kvcache/src/store.ts';
import { serveCommands } from '../machine/worker-process.ts';
import { mebibyte } from './row.ts';

export interface Identity {
  readonly node: NodeId;
  readonly publicKey: Uint8Array;
}

export interface Meeting {
  readonly ca: string;
  readonly certificate: string;
  readonly peer: Identity;
  readonly transport: PeerTransport;
  readonly host: string;
}

export type PeerCommand =
  | { readonly do: 'identify' }
  | ({ readonly do: 'hold'; readonly values: number } & Meeting)
  | ({ readonly do: 'dial'; readonly port: number } & Meeting)
  | ({ readonly do: 'fetch' } & FetchPlan);

/** So many values of 1 MiB at a time, until so many or so much time is over. */
export interface FetchPlan {
  readonly atOnce: number;
  readonly fetchesMax: number;
  readonly msMax: number;
  readonly values: number;
  /**
   * The time is over only when `atOnce` values are there; those under way then are left to themselves, and what came
   * of them counts. Else they are waited for.
   */
  readonly isCutOff: boolean;
}

export interface PeerAnswer {
  readonly identity: Identity;
  readonly port: number;
  /** Of each value that came whole. */
  readonly ms: readonly number[];
  /** Those of values that came in part, too: in frames that are there. */
  readonly bytes: number;
  /** Of all of them. */
  readonly totalMs: number;
}

const key = nodeKeyOf(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }));
const store = await KvStore.open({ ramBytesMax: 192 * mebibyte, ssd: undefined, nowMs: Date.now });
let port = 0;
let trunk: Trunk | undefined;

const openTransport = ({ transport, ca, certificate }: Meeting): Transport => {
  const opened = transports[transport]({ key, certified: () => ({ ca, certificate }) });
  if (opened === undefined) throw new Error(`there is no ${transport} on this machine`);
  return opened;
};

const served: Served = {
  hold: (name) => store.get(name),
  leftMs: () => 0,
  namespaces: () => [],
  newest: () => undefined,
  check: () => Promise.reject(new Error('nobody asks')),
  cap: () => undefined,
  nowMs: () => performance.now(),
  onSent: () => {},
  onFailed: (code) => process.stderr.write(`a peer's exchange failed: ${code}\n`),
};

const reserve = (name: string, bytes: number): NewValue => {
  const value = store.reserve(name, bytes);
  if (value === undefined) throw new Error('no room');
  return value;
};

const hold = async (values: number, meeting: Meeting): Promise<void> => {
  for (let index = 0; index < values; index += 1) {
    const value = reserve(`value:${index}`, mebibyte);
    value.bytes.fill(index);
    value.commit();
  }
  const now = new ServedNow(Number.POSITIVE_INFINITY);
  const { peer, host } = meeting;
  const listener = await openTransport(meeting).listen({
    ...{ host, port: 0 },
    admit: (publicKey) => (publicKey.equals(peer.publicKey) ? peer.node : undefined),
    onChannel: (channel) => void serveChannel(channel, served, now),
    onRefused: (code, detail) => process.stderr.write(`refused: ${code} ${detail}\n`),
  });
  port = listener.port;
};

const fetchOne = async (from: Trunk, index: number, transfer: Transfer): Promise<number> => {
  const beganMs = performance.now();
  const name = `value:${index}`;
  const channel = await from.take();
  const arrived: { value?: NewValue } = {};
  await get(channel, name, transfer, {
    roomFor: ({ total }) => {
      arrived.value = reserve(name, total);
      return arrived.value.bytes;
    },
    onData: () => undefined,
  });
  arrived.value?.commit();
  const ms = performance.now() - beganMs;
  if (arrived.value?.bytes[mebibyte - 1] !== (index & 0xff)) throw new Error('another value came');
  return ms;
};

const fetchAll = async ({ atOnce, fetchesMax, msMax, values, isCutOff }: FetchPlan) => {
  const from = trunk;
  if (from === undefined) throw new Error('nobody was dialled');
  const ms: number[] = [];
  const going = new Set<Transfer>();
  let next = 0;
  const beganMs = performance.now();
  const elapsedMs = (): number => performance.now() - beganMs;
  const isOver = (): boolean => elapsedMs() >= msMax && (!isCutOff || ms.length >= atOnce);
  const one = async (): Promise<void> => {
    while (next < fetchesMax && !isOver()) {
      next += 1;
      const transfer = newTransfer();
      going.add(transfer);
      ms.push(await fetchOne(from, next % values, transfer));
      going.delete(transfer);
    }
  };
  const all = Array.from({ length: atOnce }, one);
  await (isCutOff ? Promise.race(all) : Promise.all(all));
  const inPart = [...going].reduce((bytes, { at }) => bytes + at, 0);
  return { ms: [...ms], bytes: ms.length * mebibyte + inPart, totalMs: elapsedMs() };
};

serveCommands<PeerCommand, PeerAnswer>(async (command) => {
  let figures = { ms: [] as readonly number[], bytes: 0, totalMs: 0 };
  if (command.do === 'hold') await hold(command.values, command);
  if (command.do === 'dial') {
    const { host, peer } = command;
    const target = { host, port: command.port, node: peer.node, publicKey: Buffer.from(peer.publicKey) };
    trunk = openTransport(command).trunk(target);
  }
  if (command.do === 'fetch') figures = await fetchAll(command);
  return { identity: { node: key.node, publicKey: key.publicKey }, port, ...figures };
});
