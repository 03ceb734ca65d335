/**
 * A link of this machine that delays, loses and narrows as told, between two network namespaces that programs run in.
 * Needs no root where the system allows user namespaces and lets everybody open /dev/net/tun (Debian and Ubuntu as they
 * come; Ubuntu's AppArmor rule for user namespaces asks for root); `unshare`, `nsenter` and `ip` are util-linux' and
 * iproute2's. Nothing is left behind: the namespaces go with the relay, and the relay with who started it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { DirectionCounts, DirectionShape } from './direction.ts';
import {
  addresses,
  deviceName,
  type RelayAnswer,
  type RelayCommand,
  type RelayStart,
} from './relay-messages.ts';

export interface LinkEnd {
  readonly host: string;
  /** Before a program's own words: runs it there, as the same user. */
  readonly enter: readonly string[];
  /** Packets that the kernel of this end dropped, since the relay was too slow for them: loss that nobody asked for. */
  unwantedDrops(): number;
}

export interface LossyLink {
  readonly ends: readonly [LinkEnd, LinkEnd];
  change(shape: DirectionShape): Promise<void>;
  counts(): Promise<readonly [DirectionCounts, DirectionCounts]>;
  stop(): Promise<void>;
}

/** A gigabit, and as much queue as a router on such a path has. */
export const wideArea = ({ rttMs, lossShare }: { rttMs: number; lossShare: number }): DirectionShape => ({
  delayMs: rttMs / 2,
  jitterMs: 0,
  lossShare,
  megabitsPerSecond: 1000,
  queueBytesMax: 4 * 2 ** 20,
});

const startMsMax = 15_000;
const relayPath = join(import.meta.dirname, 'relay.ts');

const endOf = (relay: number, network: number, host: string): LinkEnd => {
  const own = ['--target', String(relay), '--user', '--preserve-credentials'];
  const enter = ['nsenter', ...own, `--net=/proc/${relay}/fd/${network}`, '--'];
  const unwantedDrops = (): number => {
    const [program = '', ...words] = enter;
    const text = execFileSync(program, [...words, 'cat', '/proc/net/dev'], { encoding: 'utf8' });
    const line = text.split('\n').find((candidate) => candidate.trim().startsWith(`${deviceName}:`)) ?? '';
    // Name, eight columns of what was received, then of what was sent: bytes, packets, errors, dropped.
    return Number(line.trim().split(/\s+/)[12] ?? Number.NaN);
  };
  return { host, enter, unwantedDrops };
};

/** Answers of the relay, one for each turn. */
const answersOf = (child: ChildProcess) => {
  const waiting: { resolve: (answer: RelayAnswer) => void; reject: (error: Error) => void }[] = [];
  let text = '';
  let complaint = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    const lines = (text + bytes.toString()).split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) waiting.shift()?.resolve(JSON.parse(line) as RelayAnswer);
  });
  child.stderr?.on('data', (bytes: Buffer) => {
    complaint = (complaint + bytes.toString()).slice(-2_000);
  });
  const fail = (why: string): void => {
    for (const { reject } of waiting.splice(0))
      reject(new Error(`no lossy link: ${why} ${complaint.trim()}`));
  };
  child.once('error', (thrown) => fail(thrown.message));
  child.once('close', (status) => fail(`the relay ended with status ${status}.`));
  return (): Promise<RelayAnswer> => new Promise((resolve, reject) => waiting.push({ resolve, reject }));
};

/** Throws what the system says where it allows no namespaces or no TUN device. */
export const openLossyLink = async (start: RelayStart): Promise<LossyLink> => {
  const program = [process.execPath, relayPath, JSON.stringify(start)];
  const child = spawn('unshare', ['--map-root-user', '--net', ...program], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const next = answersOf(child);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const timer = setTimeout(() => child.kill('SIGKILL'), startMsMax);
  const { networks } = await next().finally(() => clearTimeout(timer));
  const ask = (command: RelayCommand): Promise<RelayAnswer> => {
    child.stdin?.write(JSON.stringify(command));
    return next();
  };
  // `unshare` becomes the program that it starts.
  const relay = child.pid ?? 0;
  return {
    ends: [endOf(relay, networks[0], addresses[0]), endOf(relay, networks[1], addresses[1])],
    change: async (shape) => void (await ask({ shape })),
    counts: async () => (await ask({})).counts,
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
};
