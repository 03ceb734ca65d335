/**
 * What this host's KV daemon and the edge tell each other, by way of the agent: lines on the daemon's socket, frames on
 * the link. The lines begin and end with the link, so that on every link all is told anew; a daemon that is not there
 * is asked again and again. Keeps what the daemon last said of itself and of whom it reaches; moves no values.
 *
 *   daemon --self, reach--> KVPEER     --held--> KVHELD     --ask--> KVASK --> edge
 *          <--fabric------- KVFABRIC            <--holders-- KVHOLDERS <------
 */
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { KvcachedStatus } from '@cognitora/protocol/agent-status';
import { nodeIdOf } from '@cognitora/protocol/identity';
import type { NodeId, ReplicaName } from '@cognitora/protocol/ids';
import {
  type FromDaemon,
  type KvFabric,
  kvLineBytesMax,
  type PeerReach,
  parseFromDaemon,
  type ToDaemon,
} from '@cognitora/protocol/kv-daemon';
import {
  bytesPerMsMax,
  bytesPerTokenMax,
  holdersByDigest,
  type KvAsk,
  type KvHeld,
  type KvHolders,
  type KvMover,
  type KvPeer,
  peerRttMsMax,
} from '@cognitora/protocol/kv-fabric';
import { kvHeldDigestsPerSecond, redialMsMax } from '@cognitora/protocol/limits';
import { TextLines } from '@cognitora/protocol/text-lines';
import { redialDelayMs } from '../link/backoff.ts';
import type { Log } from '../log.ts';
import type { Mover } from '../moves/replica-moves.ts';

/** What changed together is told together. */
const tellMs = 100;
/** Lines that a daemon has not read: with more it is as good as gone. */
const unreadBytesMax = 4 * kvLineBytesMax;
/** Looking through what the daemon holds may take longer; then some keys are told that need not be. */
const lookMsMax = 5_000;
/** Four fifths of what the edge reads of a node. */
const heldPerMs = (0.8 * kvHeldDigestsPerSecond) / 1_000;

/** The link, as far as the fleet's KV goes. */
export interface FleetLink {
  kvPeer(peer: KvPeer): void;
  kvHeld(held: KvHeld): void;
  kvAsk(ask: KvAsk): void;
}

/** Who writes what the agent itself keeps in the daemon. */
export interface OwnKeys {
  /** From now on the daemon tells of itself, and of what it drops. Never rejects. */
  found(): Promise<void>;
  lost(): void;
  knows(hash: string): boolean;
  dropped(hashes: readonly string[]): Promise<void>;
  namespaceOf(fingerprint: Uint8Array): string | undefined;
}

export type NamedMover = Mover & { readonly name: ReplicaName };

export interface KvFleetOptions {
  readonly node: NodeId;
  readonly open: () => Promise<Duplex>;
  readonly own: OwnKeys;
  readonly random: () => number;
  readonly log: Log;
}

/** One link with all that was said during it. */
interface Life {
  readonly link: FleetLink;
  readonly movers: () => readonly NamedMover[];
  fabric: KvFabric | undefined;
  socket: Duplex | undefined;
  self: Extract<FromDaemon, { type: 'self' }> | undefined;
  reach: readonly PeerReach[];
  failures: number;
  redial: NodeJS.Timeout | undefined;
  telling: NodeJS.Timeout | undefined;
  /** What the daemon dropped is looked at in turn. */
  dropping: Promise<unknown>;
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

const within = (min: number, value: number, max: number): number => Math.min(max, Math.max(min, value));

/** 16 hex each, as pairs of words: the low one first. */
const wordsOf = (digests: readonly string[]): Uint32Array => {
  const bytes = Buffer.from(digests.join(''), 'hex');
  return Uint32Array.from({ length: 2 * digests.length }, (_, at) => bytes.readUInt32LE(4 * at));
};

const digestsOf = (words: Uint32Array): number => words.length / 2;

const nodeOf = (publicKey: string): NodeId =>
  nodeIdOf(createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest());

export class KvFleet {
  readonly #options: KvFleetOptions;
  #life: Life | undefined;
  /** Why the daemon has not joined, as far as that is known. */
  #why: string | undefined;

  constructor(options: KvFleetOptions) {
    this.#options = options;
  }

  get status(): KvcachedStatus {
    const { self, reach = [] } = this.#life ?? {};
    const why = self === undefined ? (this.#why ?? 'the agent has no link') : undefined;
    return { isJoined: self !== undefined, hosts: reach.length, ...(why === undefined ? {} : { why }) };
  }

  /** How a node is reached by the better transport; undefined: not at all. */
  reachOf(node: NodeId): PeerReach | undefined {
    return this.#life?.reach.find((peer) => peer.node === node);
  }

  /** A link is open. */
  linked(link: FleetLink, movers: () => readonly NamedMover[]): void {
    this.#end();
    const life: Life = {
      ...{ link, movers, fabric: undefined, socket: undefined, self: undefined, reach: [], failures: 0 },
      ...{ redial: undefined, telling: undefined, dropping: Promise.resolve() },
    };
    this.#life = life;
    void this.#dial(life);
  }

  /** A link is over, if it is still the latest. */
  unlinked(link: FleetLink): void {
    if (link === this.#life?.link) this.#end();
  }

  /** The edge says who is in the fleet. */
  fabric(link: FleetLink, fabric: KvFabric): void {
    const life = this.#life;
    if (link !== life?.link) return;
    life.fabric = fabric;
    this.#say(life, { type: 'fabric', ...fabric });
  }

  holders(link: FleetLink, holders: KvHolders): void {
    const life = this.#life;
    if (link !== life?.link) return;
    this.#say(life, { type: 'holders', ask: holders.ask, holders: holdersByDigest(holders) });
  }

  /** What is told of the replicas may have changed. */
  changed(): void {
    const life = this.#life;
    if (life === undefined || life.telling !== undefined) return;
    life.telling = setTimeout(() => {
      life.telling = undefined;
      if (this.#life === life) this.#tellPeer(life);
    }, tellMs);
  }

  stop(): void {
    this.#end();
  }

  #end(): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#life = undefined;
    clearTimeout(life.redial);
    clearTimeout(life.telling);
    life.socket?.destroy();
    this.#options.own.lost();
  }

  async #dial(life: Life): Promise<void> {
    const { log, open } = this.#options;
    try {
      const socket = await open();
      if (this.#life === life) this.#opened(life, socket);
      else socket.destroy();
    } catch (thrown) {
      this.#why = String(thrown);
      if (life.failures === 0) log('warn', 'kvcached joins no fleet', { why: this.#why });
      this.#dialLater(life);
    }
  }

  #dialLater(life: Life): void {
    if (this.#life !== life) return;
    const inMs = redialDelayMs(life.failures, this.#options.random(), redialMsMax);
    life.redial = setTimeout(() => void this.#dial(life), inMs);
    life.failures += 1;
  }

  #opened(life: Life, socket: Duplex): void {
    const { log, own } = this.#options;
    log('info', 'kvcached joins the fleet');
    this.#why = 'it has not told of itself yet';
    life.socket = socket;
    const looked = Promise.race([own.found(), delay(lookMsMax)]);
    const lines = new TextLines(kvLineBytesMax);
    const refuse = (thrown: unknown): void => {
      log('warn', 'kvcached says what nobody understands', { why: String(thrown) });
      socket.destroy();
    };
    socket.on('data', (bytes: Buffer) => {
      socket.pause();
      this.#take(life, lines, bytes, looked).then(() => socket.resume(), refuse);
    });
    socket.on('error', () => {});
    // A daemon that ends its side has nothing more to say.
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#closed(life));
    if (life.fabric !== undefined) this.#say(life, { type: 'fabric', ...life.fabric });
  }

  #closed(life: Life): void {
    if (this.#life !== life) return;
    life.socket = undefined;
    life.reach = [];
    this.#options.own.lost();
    this.#why ??= 'it ended';
    this.#options.log('warn', 'kvcached is gone, asked again');
    // Nobody finds anything here until it is back.
    if (life.self !== undefined) {
      const { publicKey } = life.self;
      life.self = undefined;
      life.link.kvPeer({ publicKey, addresses: [], reach: [], replicas: [] });
      life.link.kvHeld({ isCleared: true, added: new Uint32Array(), removed: new Uint32Array() });
    }
    this.#dialLater(life);
  }

  async #take(life: Life, lines: TextLines, bytes: Buffer, looked: Promise<void>): Promise<void> {
    for (const line of lines.push(bytes)) {
      const said = parseFromDaemon(line);
      // Keys of the agent's own are known then, and need not be told.
      if (said.type === 'held') await looked;
      if (this.#life !== life) return;
      const digests = this.#heard(life, said);
      if (digests > 0) await delay(digests / heldPerMs);
    }
  }

  /** Returns how many digests were told on. */
  #heard(life: Life, said: FromDaemon): number {
    switch (said.type) {
      case 'self':
        this.#meet(life, said);
        return 0;
      case 'reach':
        life.reach = said.peers;
        this.changed();
        return 0;
      case 'ask':
        if (life.self !== undefined) life.link.kvAsk({ ask: said.ask, digests: wordsOf(said.digests) });
        return 0;
      case 'held':
        return this.#held(life, said);
    }
  }

  #meet(life: Life, self: Extract<FromDaemon, { type: 'self' }>): void {
    const { log, node } = this.#options;
    if (nodeOf(self.publicKey) !== node) {
      const why = "kvcached has another host's key: name this agent's node.key in its --identity";
      this.#why = why;
      log('error', 'kvcached is none of the fleet', { why });
      return;
    }
    life.self = self;
    life.failures = 0;
    this.#why = undefined;
    this.changed();
  }

  #held(life: Life, { isCleared, ...told }: Extract<FromDaemon, { type: 'held' }>): number {
    const { own } = this.#options;
    if (told.removed.length > 0) life.dropping = life.dropping.then(() => own.dropped(told.removed));
    const added = wordsOf(told.added.filter((hash) => !own.knows(hash)));
    const removed = wordsOf(told.removed);
    if (life.self !== undefined) life.link.kvHeld({ isCleared, added, removed });
    return digestsOf(added) + digestsOf(removed);
  }

  #tellPeer(life: Life): void {
    const { self, reach, link } = life;
    if (self === undefined) return;
    link.kvPeer({
      publicKey: self.publicKey,
      addresses: self.addresses,
      reach: reach.flatMap((peer) =>
        peer.rttMs > peerRttMsMax ? [] : [{ ...peer, bytesPerMs: Math.min(bytesPerMsMax, peer.bytesPerMs) }],
      ),
      replicas: life.movers().flatMap((mover) => this.#moverOf(mover)),
    });
  }

  #moverOf({ name, fingerprint, bytesPerToken, insertBytesPerMs }: NamedMover): KvMover[] {
    const namespace = this.#options.own.namespaceOf(fingerprint);
    if (namespace === undefined) return [];
    const rates = {
      bytesPerToken: within(1, bytesPerToken, bytesPerTokenMax),
      insertBytesPerMs: within(1, insertBytesPerMs, bytesPerMsMax),
    };
    return [{ name, namespace, ...rates }];
  }

  #say({ socket }: Life, line: ToDaemon): void {
    if (socket === undefined) return;
    socket.write(`${JSON.stringify(line)}\n`);
    if (socket.writableLength > unreadBytesMax) socket.destroy();
  }
}
