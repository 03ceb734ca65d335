/**
 * What a host's KV daemon answers on its Unix socket, to the agent and to `cgn kv`: paths, types, bounds, and the
 * parsers of the lines that agent and daemon exchange. `docs/design/0009-kv-between-hosts.md` has the table. A key is a
 * string of one character a byte, in JSON too; in a path it is percent-encoded. Knows no store.
 */
import { utf8 } from './bytes.ts';
import type { NodeId } from './ids.ts';
import { kvAskDigestsMax, kvFabricNodesMax, kvHoldersPerDigestMax, kvPeerAddressesMax } from './limits.ts';
import { FieldReader, parseJsonRecord } from './shape.ts';

export const kvDaemonPaths = {
  stat: '/v1/stat',
  keys: '/v1/keys',
  values: '/v1/values/',
  leases: '/v1/leases/',
  exists: '/v1/exists',
  pin: '/v1/pin',
  fetch: '/v1/fetch',
  namespaces: '/v1/namespaces',
  peers: '/v1/peers',
  doctor: '/v1/doctor',
  fleet: '/v1/fleet',
} as const;

/** In the daemon's data directory. */
export const kvDaemonSocketName = 'kvcached.sock';
/** What `Upgrade` names for the lines of the fleet. */
export const kvFleetUpgrade = 'cognitora-kv-fleet';

export const peerTransports = ['tls', 'quic'] as const;
export type PeerTransport = (typeof peerTransports)[number];

export interface PeerAddress {
  readonly transport: PeerTransport;
  readonly host: string;
  readonly port: number;
}

/** A node of the roster. */
export interface FabricPeer {
  readonly node: NodeId;
  /** The host's name, for people. */
  readonly name: string;
  /** Raw Ed25519, base64url: the node's id is its hash. */
  readonly publicKey: string;
  readonly addresses: readonly PeerAddress[];
}

/** What the edge tells a node of its fleet. */
export interface KvFabric {
  /** PEM, both; the certificate is over the node's own key. */
  readonly ca: string;
  readonly certificate: string;
  readonly peers: readonly FabricPeer[];
}

/** A peer that this node reaches, by its better transport. */
export interface PeerReach {
  readonly node: NodeId;
  readonly transport: PeerTransport;
  readonly rttMs: number;
  readonly bytesPerMs: number;
}

/** Lines from the agent to the daemon. */
export type ToDaemon =
  | ({ readonly type: 'fabric' } & KvFabric)
  /** For each digest of the ask, who holds it. */
  | { readonly type: 'holders'; readonly ask: number; readonly holders: readonly (readonly NodeId[])[] };

/** Lines from the daemon to the agent. A digest is 16 hex: the first 8 bytes of SHA-256 of a key. */
export type FromDaemon =
  | { readonly type: 'self'; readonly publicKey: string; readonly addresses: readonly PeerAddress[] }
  | { readonly type: 'reach'; readonly peers: readonly PeerReach[] }
  | {
      readonly type: 'held';
      readonly isCleared: boolean;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | { readonly type: 'ask'; readonly ask: number; readonly digests: readonly string[] };

/** What must be equal on two hosts before one uses the other's KV; a field that does not apply is left out. */
export interface NamespaceFields {
  readonly model: string;
  readonly dtype?: string;
  /** Such as `tp2` or `tp2pp1`. */
  readonly layout?: string;
  readonly blockTokens?: number;
  readonly hashAlgorithm?: string;
  readonly engine?: string;
  /** Other facts that must be equal, by name. */
  readonly more?: Readonly<Record<string, string | number>>;
}

export interface KvNamespace {
  /** `n` and 16 hex. */
  readonly namespace: string;
  readonly fields: NamespaceFields;
}

/** Why a request was not done, with its HTTP status: `{"error": {"code", "message"}}`. */
export const kvDaemonErrors = {
  bad_request: 400,
  foreign_host: 403,
  not_found: 404,
  wrong_method: 405,
  length_missing: 411,
  too_large: 413,
  upgrade_needed: 426,
  too_many: 429,
  failed: 500,
  /** Of peers, or of a mapping: the message says what is missing. */
  unavailable: 503,
  no_room: 507,
} as const;
export type KvDaemonErrorCode = keyof typeof kvDaemonErrors;

export interface KvTierStat {
  readonly values: number;
  readonly bytes: number;
  readonly bytesMax: number;
  /** Since the daemon started, as all counts here. */
  readonly hits: number;
  /** Asked for, and not given by this tier. */
  readonly misses: number;
  readonly evictions: number;
}

/** A directory whose files are values. */
export interface KvMirrorStat {
  readonly directory: string;
  readonly namespace: string;
  /** The directory is there. */
  readonly isThere: boolean;
  readonly files: number;
  readonly bytes: number;
  /** Absent: it has no cap. */
  readonly bytesMax?: number;
  /** Seen, and not known to be whole yet. */
  readonly waiting: number;
  /** Files that became values or were some already, values that became files, files that the cap removed. */
  readonly adopted: number;
  readonly restored: number;
  readonly removed: number;
  /** Files not taken or made, for whatever reason; the metrics tell them apart. */
  readonly failures: number;
}

export interface KvStat {
  readonly version: string;
  readonly pid: number;
  readonly uptimeMs: number;
  readonly residentBytes: number;
  readonly ram: KvTierStat & {
    readonly pinnedBytes: number;
    readonly puts: number;
    readonly refusals: number;
  };
  /** Absent: nothing is kept on a disk. */
  readonly ssd?: KvTierStat & {
    readonly directory: string;
    readonly dirtyBytes: number;
    readonly corrupt: number;
    readonly errors: number;
    /** On the disk, and not given: damaged, too many waited, or no room in memory. */
    readonly unread: number;
  };
  /** Absent: it was started without. */
  readonly peers?: { readonly hits: number; readonly misses: number };
  /** Asked for, and given by no tier. */
  readonly misses: number;
  readonly mirrors: readonly KvMirrorStat[];
  /** Places in the mapped memory that somebody holds. */
  readonly leases: number;
  readonly namespaces: readonly KvNamespace[];
}

export interface KvKey {
  readonly key: string;
  readonly bytes: number;
  readonly tier: 'ram' | 'ssd';
  readonly isPinned: boolean;
  /** Absent: it has no end. */
  readonly ttlMs?: number;
}

export interface KvKeysPage {
  readonly keys: readonly KvKey[];
  /** Of the next page; absent at the end. */
  readonly cursor?: number;
}

/** Where a value lies for a program of this user, which maps it; held until the lease or the connection ends. */
export interface KvPlace {
  readonly path: string;
  readonly offset: number;
  readonly bytes: number;
  readonly lease: number;
}

export interface KvExists {
  readonly tiers: readonly ('ram' | 'ssd' | null)[];
}

/** What `node` of a fetch says to ask the edge who holds the keys. */
export const anyNode = 'any';

export interface KvFetch {
  readonly keys: readonly string[];
  readonly node: NodeId | typeof anyNode;
  readonly deadlineMs: number;
}

export interface KvFetched {
  /** Those that are here now and were not. */
  readonly fetched: number;
  readonly bytes: number;
  readonly ms: number;
  /** Of the keys that were asked for: nobody asked had them, or not in time. */
  readonly missing: readonly string[];
}

/** A node of the roster as this daemon sees it. */
export interface KvPeer {
  readonly node: NodeId;
  readonly name: string;
  /** Absent: it is not reached, and `why` says so. */
  readonly transport?: PeerTransport;
  readonly rttMs?: number;
  readonly bytesPerMs?: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly why?: string;
}

export interface KvPeers {
  readonly node: NodeId;
  readonly addresses: readonly PeerAddress[];
  /** No agent told of a fleet yet: false. */
  readonly hasFabric: boolean;
  readonly peers: readonly KvPeer[];
}

/** A value written to a peer and read again, byte for byte. */
export interface KvProbe {
  readonly node: NodeId;
  readonly name: string;
  readonly isOk: boolean;
  readonly transport?: PeerTransport;
  readonly writeMs?: number;
  readonly readMs?: number;
  readonly why?: string;
  /** The peer's: so that those of the same model can be compared. */
  readonly namespaces: readonly KvNamespace[];
}

/** Why a peer is not reached of whose kvcached nothing is known. */
export const tellsNoAddress = 'its kvcached does not run, or has no [peers]';

export interface KvDoctor {
  readonly namespaces: readonly KvNamespace[];
  readonly probes: readonly KvProbe[];
  /** Why there was nobody to probe. */
  readonly why?: string;
}

/** Of one request. */
export const kvKeysPerRequestMax = 4_096;
/** Somebody waits, and computing it takes no longer. */
export const kvFetchMsMax = 25_000;
/** The roster of 256 nodes is the longest line: a kilobyte each, and two certificates. */
export const kvLineBytesMax = 2 ** 20;
/** Of a daemon: whose fields it keeps. */
export const kvNamespacesMax = 256;
/** Mirrors of a daemon, each with its own directory. */
export const kvMirrorsMax = 16;
/** Digests of one line, 19 characters each; who has more to tell sends several. */
export const kvHeldPerLineMax = 4_096;
export const kvKeyBytesMax = 2_048;
const pemCharsMax = 8_192;
const nodePattern = /^n[a-z2-7]{26}$/;
export const namespacePattern = /^n[0-9a-f]{16}$/;
const digestPattern = /^[0-9a-f]{16}$/;
const askMax = 2 ** 32 - 1;

/** Of each byte that is no plain letter its escape: a key in a path, a prefix in a query. */
export const kvEscaped = (text: string): string =>
  text.replace(
    /[^A-Za-z0-9._~:/-]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`,
  );

/** Undefined for a broken escape. */
export const kvUnescaped = (text: string): string | undefined => {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  return text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
};

export const kvValuePath = (key: string): string => kvDaemonPaths.values + kvEscaped(key);

export const isKvKey = (key: unknown): key is string =>
  typeof key === 'string' && key !== '' && key.length <= kvKeyBytesMax && /^[\0-\xff]*$/.test(key);

export const isNodeId = (text: unknown): text is NodeId => typeof text === 'string' && nodePattern.test(text);

const parsed = (what: string, line: string): FieldReader =>
  new FieldReader(parseJsonRecord(utf8(line), 'protocol_error', what), 'protocol_error', what);

export const nodeIn = (fields: FieldReader, name: string): NodeId => {
  const node = fields.string(name, 64);
  return isNodeId(node) ? node : fields.fail(name, "a node's id");
};

const digestsIn = (fields: FieldReader, name: string, max: number): readonly string[] =>
  fields.list(name, max).map((digest) => {
    const isOne = typeof digest === 'string' && digestPattern.test(digest);
    return isOne ? digest : fields.fail(name, 'a list of digests of 16 hex');
  });

/** Not negative. */
export const figureIn = (fields: FieldReader, name: string): number =>
  fields.number(name, 0, Number.MAX_VALUE);

export const addressesIn = (fields: FieldReader): readonly PeerAddress[] =>
  fields.records('addresses', kvPeerAddressesMax, (each) => ({
    transport: each.oneOf('transport', peerTransports),
    host: each.name('host', 255),
    port: each.integer('port', 1, 65_535),
  }));

/** Throws `protocol_error`, as do all parsers here. */
export const parseToDaemon = (line: string): ToDaemon => {
  const fields = parsed('A line of the agent', line);
  const type = fields.oneOf('type', ['fabric', 'holders'] as const);
  if (type === 'holders') {
    const holders = fields.list('holders', kvAskDigestsMax).map((nodes) => {
      if (!Array.isArray(nodes) || nodes.length > kvHoldersPerDigestMax || !nodes.every(isNodeId))
        return fields.fail('holders', 'a list of lists of nodes');
      return nodes;
    });
    return { type, ask: fields.integer('ask', 0, askMax), holders };
  }
  return {
    type,
    ca: fields.string('ca', pemCharsMax),
    certificate: fields.string('certificate', pemCharsMax),
    peers: fields.records('peers', kvFabricNodesMax, (each) => ({
      node: nodeIn(each, 'node'),
      name: each.name('name', 256),
      publicKey: each.string('publicKey', 64),
      addresses: addressesIn(each),
    })),
  };
};

export const parseFromDaemon = (line: string): FromDaemon => {
  const fields = parsed('A line of kvcached', line);
  const type = fields.oneOf('type', ['self', 'reach', 'held', 'ask'] as const);
  switch (type) {
    case 'self':
      return { type, publicKey: fields.string('publicKey', 64), addresses: addressesIn(fields) };
    case 'reach':
      return {
        type,
        peers: fields.records('peers', kvFabricNodesMax, (each) => ({
          node: nodeIn(each, 'node'),
          transport: each.oneOf('transport', peerTransports),
          rttMs: figureIn(each, 'rttMs'),
          bytesPerMs: figureIn(each, 'bytesPerMs'),
        })),
      };
    case 'held':
      return {
        type,
        isCleared: fields.boolean('isCleared'),
        added: digestsIn(fields, 'added', kvHeldPerLineMax),
        removed: digestsIn(fields, 'removed', kvHeldPerLineMax),
      };
    case 'ask':
      return {
        type,
        ask: fields.integer('ask', 0, askMax),
        digests: digestsIn(fields, 'digests', kvAskDigestsMax),
      };
  }
};
