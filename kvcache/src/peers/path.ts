/**
 * One way to a peer: an address by a transport, what it takes there and back, and how fast it is, as far as is known.
 * Which of several is the best for so many bytes is decided here and nowhere else. Pure but for the trunk it carries.
 */
import type { NodeId } from '@cognitora/protocol/ids';
import { type PeerAddress, type PeerTransport, peerTransports } from '@cognitora/protocol/kv-daemon';
import type { PeerFailure } from './codes.ts';
import { failedMsMax } from './limits.ts';
import type { Trunk } from './transport.ts';

/** Of what is measured anew; the rest is what was known. */
const weight = 0.3;
/** Less than that says more of the round trip than of the bandwidth. */
const measuredBytesMin = 128 * 1024;

export class Path {
  readonly node: NodeId;
  readonly address: PeerAddress;
  readonly trunk: Trunk;
  rttMs: number | undefined;
  bytesPerMs: number | undefined;
  /** In a row. */
  failures = 0;
  /** The last of them. */
  why: PeerFailure | undefined;
  #failedAtMs = 0;

  constructor(node: NodeId, address: PeerAddress, trunk: Trunk) {
    this.node = node;
    this.address = address;
    this.trunk = trunk;
  }

  get transport(): PeerTransport {
    return this.address.transport;
  }

  /** Seen to work, and since then not seen to fail. */
  get isReached(): boolean {
    return this.rttMs !== undefined && this.failures === 0;
  }

  answered(rttMs: number): void {
    this.#worked();
    this.rttMs = this.rttMs === undefined ? rttMs : mixed(this.rttMs, rttMs);
  }

  brought(bytes: number, ms: number): void {
    this.#worked();
    if (bytes < measuredBytesMin) return;
    const bytesPerMs = bytes / Math.max(0.1, ms - (this.rttMs ?? 0));
    this.bytesPerMs = this.bytesPerMs === undefined ? bytesPerMs : mixed(this.bytesPerMs, bytesPerMs);
  }

  failed(why: PeerFailure, nowMs: number): void {
    this.failures += 1;
    this.why = why;
    this.#failedAtMs = nowMs;
  }

  #worked(): void {
    this.failures = 0;
    this.why = undefined;
  }

  /** Failed a moment ago. */
  isResting(nowMs: number): boolean {
    return this.failures > 0 && nowMs - this.#failedAtMs < failedMsMax;
  }

  /** Undefined: nothing is known. */
  msFor(bytes: number): number | undefined {
    if (this.rttMs === undefined || this.bytesPerMs === undefined) return undefined;
    return this.rttMs + bytes / this.bytesPerMs;
  }
}

const mixed = (known: number, measured: number): number => known + weight * (measured - known);

/** The best first, for so many bytes; those that failed a moment ago are none. */
export const bestFirst = (paths: readonly Path[], bytes: number, nowMs: number): readonly Path[] =>
  paths
    .filter((path) => !path.isResting(nowMs))
    .sort((one, other) => rankOf(one, bytes) - rankOf(other, bytes));

/** Milliseconds; what nothing is known of comes behind what works, and what failed last behind that. */
const rankOf = (path: Path, bytes: number): number => {
  const ms = path.msFor(bytes) ?? 1e6 + peerTransports.indexOf(path.transport);
  return path.failures > 0 ? 1e9 + ms : ms;
};
