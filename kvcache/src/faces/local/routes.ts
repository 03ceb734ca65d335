/**
 * The table of docs/design/0009: what each request on the daemon's socket does with the store, the namespaces and the
 * peers. Knows no connection but as the owner of leases.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { NodeId } from '@cognitora/protocol/ids';
import {
  anyNode,
  isKvKey,
  isNodeId,
  type KvFetched,
  type KvKey,
  type KvKeysPage,
  kvDaemonPaths,
  kvFetchMsMax,
  kvKeysPerRequestMax,
  kvUnescaped,
} from '@cognitora/protocol/kv-daemon';
import {
  parseDoctorAsk,
  parseFetchAsk,
  parseKeysAsk,
  parseNamespaceAsk,
  parsePinAsk,
} from '@cognitora/protocol/kv-daemon-bodies';
import type { KeyWalks } from '../../key-walks.ts';
import type { Namespaces } from '../../namespaces.ts';
import type { PeerAccess } from '../../peer-access.ts';
import { type KvStore, valueBytesMax } from '../../store.ts';
import type { Mirror } from '../directory/mirror.ts';
import { lengthOf, readInto, readJson } from './body.ts';
import type { Call } from './call.ts';
import { LocalError } from './error.ts';
import type { Leases } from './leases.ts';
import { statOf } from './stat.ts';

/** Beyond it there is no difference to a value without an end. */
const ttlMsMax = 10 * 365 * 24 * 3_600_000;
/** Keys looked at for one page: a millisecond or two of the loop that all share. */
const looksMax = 16_384;
const pageKeysDefault = 1_000;
/** A mirror makes four at once, and refuses who would be one of a thousand that wait. */
const filesTogetherMax = 64;

export interface RouteContext {
  readonly store: KvStore;
  readonly walks: KeyWalks;
  readonly namespaces: Namespaces;
  readonly leases: Leases<object>;
  /** Undefined: this daemon has none. */
  readonly peers: PeerAccess | undefined;
  /** Directories where values are files. */
  readonly mirrors?: readonly Pick<Mirror, 'restore' | 'directory' | 'namespace' | 'counts'>[];
  readonly nowMs: () => number;
  readonly startedAtMs: number;
  readonly version: string;
}

type Route = (call: Call, context: RouteContext, connection: object) => void | Promise<void>;
/** Of one path by its method. */
type Routes = Readonly<Record<string, Route>>;

/** Throws where the path names no key. */
const keyOf = ({ path }: Call): string => {
  const key = kvUnescaped(path.slice(kvDaemonPaths.values.length));
  if (isKvKey(key)) return key;
  throw new LocalError('bad_request', 'A key has 1 to 2048 bytes, percent-encoded.');
};

const unknownKey = (): LocalError => new LocalError('not_found', 'There is no such key.');

const peersOf = ({ peers }: RouteContext): PeerAccess => {
  if (peers !== undefined) return peers;
  throw new LocalError(
    'unavailable',
    'This kvcached has no peers: it was started without an address where they reach it.',
  );
};

const askedNode = (text: string): NodeId | typeof anyNode => {
  if (text === anyNode || isNodeId(text)) return text;
  throw new LocalError('bad_request', `node is a node's id, or "${anyNode}".`);
};

const getValue: Route = async (call, context, connection) => {
  const key = keyOf(call);
  const node = call.query('node');
  const found = context.store.getHere(key);
  let tier = found instanceof Promise ? 'ssd' : 'ram';
  let held = await found;
  if (held === undefined && node !== undefined) {
    const ask = { keys: [key], node: askedNode(node), deadlineMs: kvFetchMsMax };
    await peersOf(context).fetch(ask, call.gone);
    tier = 'peer';
    held = await context.store.getHere(key);
  }
  if (held === undefined) throw unknownKey();
  if (call.query('as') !== 'place') return call.value(held, tier);
  const path = context.store.ram.paths[held.arena];
  const lease = path === undefined || call.gone.aborted ? undefined : context.leases.take(connection, held);
  if (path !== undefined && lease !== undefined) {
    return call.json({ path, offset: held.offset, bytes: held.bytes.length, lease });
  }
  held.release();
  if (path === undefined)
    throw new LocalError('unavailable', 'This system cannot hand memory over: read the value.');
  throw new LocalError('too_many', 'As many places are held as may be: give some back, or read the value.');
};

const ttlMsOf = (call: Call): number | undefined => {
  const text = call.header('x-ttl-ms');
  if (text === undefined) return undefined;
  const ttlMs = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (ttlMs >= 1 && ttlMs <= ttlMsMax) return ttlMs;
  throw new LocalError('bad_request', `x-ttl-ms is a whole number from 1 to ${ttlMsMax}.`);
};

const isPinAsked = (call: Call): boolean => {
  const text = call.header('x-pin');
  if (text === undefined || text === 'true' || text === 'false') return text === 'true';
  throw new LocalError('bad_request', 'x-pin is true or false.');
};

const putValue: Route = async (call, { store, nowMs }) => {
  const key = keyOf(call);
  const ttlMs = ttlMsOf(call);
  const isPinned = isPinAsked(call);
  const bytes = lengthOf(call.request);
  if (bytes > valueBytesMax) {
    throw new LocalError('too_large', `A value has ${valueBytesMax} bytes at most: store it in parts.`);
  }
  const room = store.receive(key, bytes, call.request.socket);
  if (room === undefined) {
    throw new LocalError(
      'no_room',
      'All that is in memory is read, being written, pinned or not on the disk yet: try later.',
    );
  }
  try {
    await readInto(call.request, room.bytes);
  } catch (thrown) {
    room.abort();
    throw thrown;
  }
  room.commit({ expiresAtMs: ttlMs === undefined ? undefined : nowMs() + ttlMs, isPinned });
  call.done();
};

const deleteValue: Route = (call, { store }) => {
  if (!store.delete(keyOf(call))) throw unknownKey();
  call.done();
};

const deleteLease: Route = (call, { leases }, connection) => {
  const digits = call.path.slice(kvDaemonPaths.leases.length);
  const lease = /^\d{1,15}$/.test(digits) ? Number(digits) : 0;
  if (!leases.giveBack(connection, lease)) {
    throw new LocalError('not_found', 'This connection holds no such lease.');
  }
  call.done();
};

const exists: Route = async (call, { store }) => {
  const keys = parseKeysAsk(await readJson(call.request));
  call.json({ tiers: keys.map((key) => store.factsOf(key)?.tier ?? null) });
};

const pin: Route = async (call, { store }) => {
  const { keys, pinned } = parsePinAsk(await readJson(call.request));
  let changed = 0;
  for (const key of keys) {
    const facts = store.factsOf(key);
    if (facts === undefined || facts.isPinned === pinned) continue;
    // What is on the disk alone is never pinned, and is not read for it not to be.
    if (await store.pin(key, pinned)) changed += 1;
  }
  call.json({ changed });
};

const countOf = (text: string | undefined, fallback: number, max: number): number => {
  if (text === undefined) return fallback;
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (count <= max) return count;
  throw new LocalError('bad_request', `cursor and count are whole numbers, and count at most ${max}.`);
};

const keys: Route = (call, { store, walks, nowMs }) => {
  const page = walks.step({
    prefix: call.query('prefix') ?? '',
    cursor: countOf(call.query('cursor'), 0, Number.MAX_SAFE_INTEGER),
    looksMax,
    countMax: Math.max(1, countOf(call.query('count'), pageKeysDefault, kvKeysPerRequestMax)),
  });
  if (page === undefined) {
    throw new LocalError('not_found', 'The walk of this cursor was given up for newer ones: begin anew.');
  }
  const found = page.keys.flatMap((key): KvKey[] => {
    const facts = store.factsOf(key);
    if (facts === undefined) return [];
    const { tier, bytes, isPinned, expiresAtMs } = facts;
    const ttl = expiresAtMs === undefined ? {} : { ttlMs: Math.max(0, Math.round(expiresAtMs - nowMs())) };
    return [{ key, bytes, tier, isPinned, ...ttl }];
  });
  const answer: KvKeysPage = { keys: found, ...(page.cursor === 0 ? {} : { cursor: page.cursor }) };
  call.json(answer);
};

/** Those of the keys that are files of a mirror from now on: an engine looks for them when it is asked to use them. */
const filesOf = async (
  keys: readonly string[],
  { mirrors = [] }: RouteContext,
): Promise<ReadonlySet<string>> => {
  const files = new Set<string>();
  const restore = async (mirror: Pick<Mirror, 'restore'>, key: string): Promise<void> => {
    const restored = await mirror.restore(key);
    if (restored === 'restored' || restored === 'present') files.add(key);
  };
  for (let at = 0; at < keys.length; at += filesTogetherMax) {
    const some = keys.slice(at, at + filesTogetherMax);
    await Promise.all(mirrors.flatMap((mirror) => some.map((key) => restore(mirror, key))));
  }
  return files;
};

const fetch: Route = async (call, context) => {
  const { store, peers, mirrors = [] } = context;
  const ask = parseFetchAsk(await readJson(call.request));
  // What a directory's cap removed comes back from here, peers or none.
  const isAlone = peers === undefined && mirrors.length > 0;
  const fetched: KvFetched = isAlone
    ? { fetched: 0, bytes: 0, ms: 0, missing: ask.keys.filter((key) => !store.has(key)) }
    : await peersOf(context).fetch(ask, call.gone);
  const late = pause(ask.deadlineMs, new Set<string>(), { ref: false });
  const files = await Promise.race([filesOf(ask.keys, context), late]);
  // A file above a value is under other keys than its own.
  call.json({ ...fetched, missing: fetched.missing.filter((key) => !files.has(key)) });
};

const doctor: Route = async (call, context) => {
  const { node } = parseDoctorAsk(await readJson(call.request));
  const probed = await peersOf(context).doctor(node, call.gone);
  call.json({ namespaces: context.namespaces.all, ...probed });
};

const exact: Readonly<Record<string, Routes>> = {
  [kvDaemonPaths.stat]: { GET: (call, context) => call.json(statOf(context)) },
  [kvDaemonPaths.keys]: { GET: keys },
  [kvDaemonPaths.exists]: { POST: exists },
  [kvDaemonPaths.pin]: { POST: pin },
  [kvDaemonPaths.fetch]: { POST: fetch },
  [kvDaemonPaths.namespaces]: {
    PUT: async (call, { namespaces }) => {
      call.json({ namespace: namespaces.name(parseNamespaceAsk(await readJson(call.request))) });
    },
  },
  [kvDaemonPaths.peers]: { GET: (call, context) => call.json(peersOf(context).peers()) },
  [kvDaemonPaths.doctor]: { POST: doctor },
  [kvDaemonPaths.fleet]: {
    GET: () => {
      throw new LocalError('upgrade_needed', 'Ask with Upgrade: cognitora-kv-fleet.');
    },
  },
};

const below: readonly (readonly [string, Routes])[] = [
  [kvDaemonPaths.values, { GET: getValue, PUT: putValue, DELETE: deleteValue }],
  [kvDaemonPaths.leases, { DELETE: deleteLease }],
];

/** Throws what the request is answered with where it cannot be done. */
export const route: Route = (call, context, connection) => {
  const routes =
    exact[call.path] ?? below.find(([beginning]) => call.path.startsWith(beginning))?.[1] ?? undefined;
  if (routes === undefined) throw new LocalError('not_found', `There is no ${call.path}.`);
  const one = routes[call.request.method ?? ''];
  if (one !== undefined) return one(call, context, connection);
  throw new LocalError('wrong_method', `Only ${Object.keys(routes).join(', ')}.`);
};
