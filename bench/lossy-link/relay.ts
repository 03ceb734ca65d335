/**
 * The relay's program: two network namespaces of its own, a TUN device in each, and packets carried between them as the
 * link's shape says. Runs under `unshare --map-root-user --net`; told by lines of JSON on standard input, ends with it.
 * One thread that waits for packets, for the time of the next one, and for a line.
 */
import { spawnSync } from 'node:child_process';
import { readSync, writeSync } from 'node:fs';
import { messageOf } from '@cognitora/protocol/errors';
import { monotonicUs } from '../machine/clock.ts';
import { seededRandom } from '../sim/random.ts';
import { Direction } from './direction.ts';
import {
  addresses,
  deviceName,
  type RelayAnswer,
  type RelayCommand,
  type RelayStart,
} from './relay-messages.ts';
import { enterNewNetwork, openNetwork, openTun, Readable, readPacket, writePacket } from './tun.ts';

/** Packets that the kernel keeps for the relay: a window of 8 MiB given at once fits. */
const deviceQueuePackets = 8192;
/** So many packets at once before others have their turn. */
const burstPackets = 64;
const idleUs = 1e6;
const standardInput = 0;
const commandBytesMax = 4096;

const ip = (...words: string[]): void => {
  const { status, stderr, error } = spawnSync('ip', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${error?.message ?? stderr.trim()}`);
};

interface End {
  readonly tun: number;
  readonly network: number;
}

/** This thread's namespace gets its device. */
const setUp = (own: string, other: string): End => {
  const tun = openTun(deviceName);
  ip('link', 'set', 'lo', 'up');
  ip('address', 'add', own, 'peer', other, 'dev', deviceName);
  // Without an IPv6 address nothing crosses that no program sent.
  ip('link', 'set', deviceName, 'addrgenmode', 'none');
  ip('link', 'set', deviceName, 'up', 'txqueuelen', String(deviceQueuePackets));
  return { tun, network: openNetwork() };
};

interface Way {
  readonly direction: Direction;
  readonly from: number;
  readonly to: number;
}

const takePackets = ({ direction, from }: Way): void => {
  for (let left = burstPackets; left > 0; left -= 1) {
    const free = direction.free;
    const bytes = free === undefined ? 0 : readPacket(from, free);
    if (bytes === 0) return;
    direction.offer(bytes, monotonicUs());
  }
};

const deliverPackets = ({ direction, to }: Way): void => {
  for (;;) {
    const packet = direction.arrived(monotonicUs());
    if (packet === undefined) return;
    if (!writePacket(to, packet.slot, packet.bytes)) throw new Error('the kernel took no packet');
  }
};

/** Undefined: who started this is gone. */
const nextCommand = (into: Buffer): RelayCommand | undefined => {
  const bytes = readSync(standardInput, into, 0, into.length, null);
  return bytes === 0 ? undefined : (JSON.parse(into.toString('utf8', 0, bytes)) as RelayCommand);
};

const relay = (first: End, second: End, { shape, seed }: RelayStart): void => {
  const there = new Direction(shape, seededRandom(seed));
  const back = new Direction(shape, seededRandom(seed + 1));
  const ways: readonly Way[] = [
    { direction: there, from: first.tun, to: second.tun },
    { direction: back, from: second.tun, to: first.tun },
  ];
  const commands = ways.length;
  const readable = new Readable([first.tun, second.tun, standardInput]);
  const tell = (): void => {
    const counts = [there.counts, back.counts] as const;
    const answer: RelayAnswer = { networks: [first.network, second.network], counts };
    writeSync(1, `${JSON.stringify(answer)}\n`);
  };
  const line = Buffer.alloc(commandBytesMax);
  tell();
  for (;;) {
    const dueUs = Math.min(there.dueUs, back.dueUs);
    for (const [index, { direction }] of ways.entries()) {
      readable.listen(index, direction.free !== undefined);
    }
    readable.wait(Math.min(idleUs, Math.max(0, dueUs - monotonicUs())));
    for (const [index, way] of ways.entries()) {
      if (readable.isReady(index)) takePackets(way);
      deliverPackets(way);
    }
    if (!readable.isReady(commands)) continue;
    const command = nextCommand(line);
    if (command === undefined) return;
    if (command.shape !== undefined) for (const { direction } of ways) direction.change(command.shape);
    tell();
  }
};

try {
  const [ownOfFirst, ownOfSecond] = addresses;
  const first = setUp(ownOfFirst, ownOfSecond);
  enterNewNetwork();
  const second = setUp(ownOfSecond, ownOfFirst);
  relay(first, second, JSON.parse(process.argv[2] ?? '') as RelayStart);
} catch (thrown) {
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exit(1);
}
