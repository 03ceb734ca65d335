/**
 * What a link says of KV that moves between hosts: who listens where and reaches whom (KVPEER), which keys a host's KV
 * daemon holds (KVHELD), who else holds one (KVASK, KVHOLDERS), and who is in the fleet (KVFABRIC). Types, encoders and
 * the one parser of each message, which copies what it reads. Knows no daemon and no certificate.
 *
 *   KVPEER     JSON: public key, addresses, reach, replicas
 *   KVHELD     u8 flags, 3 x 0, u32 added, u32 removed, then 8 bytes for each
 *   KVASK      u32 ask, then 8 bytes for each digest
 *   KVFABRIC   JSON: CA, certificate, peers
 *   KVHOLDERS  JSON: ask, nodes, for each digest the places of its holders in `nodes`
 *
 * A digest is the first 8 bytes of SHA-256 of a key, `<namespace>:<name>`; other numbers are big endian.
 */
import { fromBase64Url, utf8 } from './bytes.ts';
import { CognitoraError } from './errors.ts';
import { type NodeId, parseNodeId, type ReplicaName } from './ids.ts';
import {
  type FabricPeer,
  type KvFabric,
  type PeerAddress,
  type PeerReach,
  peerTransports,
} from './kv-daemon.ts';
import {
  kvAskDigestsMax,
  kvDigestsPerMessageMax,
  kvFabricNodesMax,
  kvHoldersPerDigestMax,
  kvPeerAddressesMax,
  nameCharsMax,
  prefixBlocksMax,
  replicasPerNodeMax,
} from './limits.ts';
import { FieldReader, type JsonRecord, parseJsonRecord } from './shape.ts';

/** A replica whose KV can be fetched from other hosts, and how long that takes on this one. */
export interface KvMover {
  readonly name: ReplicaName;
  /** Only KV of the same namespace is of use to it. */
  readonly namespace: string;
  readonly bytesPerToken: number;
  /** From the host's memory into the engine. */
  readonly insertBytesPerMs: number;
}

/** What a node tells of its KV daemon; replaces all that it told before. */
export interface KvPeer {
  /** Raw Ed25519, base64url: the node's id is its hash. */
  readonly publicKey: string;
  readonly addresses: readonly PeerAddress[];
  readonly reach: readonly PeerReach[];
  readonly replicas: readonly KvMover[];
}

/** Which keys a daemon holds; pairs of low and high word, the digest's 8 bytes little endian. */
export interface KvHeld {
  /** All that was held before is gone, or is told anew. */
  readonly isCleared: boolean;
  readonly added: Uint32Array;
  readonly removed: Uint32Array;
}

export interface KvAsk {
  /** The asker's number. */
  readonly ask: number;
  readonly digests: Uint32Array;
}

/** The answer to a KVASK: of each digest the places of its holders in `nodes`, the nearest first. */
export interface KvHolders {
  readonly ask: number;
  readonly nodes: readonly NodeId[];
  readonly holders: readonly (readonly number[])[];
}

/** Where the beginning of a prompt may be fetched from. */
export interface KvSource {
  readonly node: NodeId;
  /** So many of the prompt's blocks, from its first, are held there. */
  readonly blocks: number;
}

/** A minute: who is farther away does not count as reached. */
export const peerRttMsMax = 60_000;
/** A terabyte a second. */
export const bytesPerMsMax = 2 ** 30;
export const bytesPerTokenMax = 2 ** 30;
/** The longest name that DNS has; addresses are shorter. */
const hostCharsMax = 253;
const publicKeyBytes = 32;
const pemCharsMax = 4_096;
const u32Max = 2 ** 32 - 1;
const digestBytes = 8;
/** Bit 0 of the flags. */
const flagCleared = 0x01;
const heldHeadBytes = 12;
const askHeadBytes = 4;

export const encodeKvPeer = (peer: KvPeer): Uint8Array => utf8(JSON.stringify(peer));
export const encodeKvFabric = (fabric: KvFabric): Uint8Array => utf8(JSON.stringify(fabric));
export const encodeKvHolders = (holders: KvHolders): Uint8Array => utf8(JSON.stringify(holders));

const readerOf = (payload: Uint8Array, what: string): FieldReader =>
  new FieldReader(parseJsonRecord(payload, 'protocol_error', what), 'protocol_error', what);

const readNode = (reader: FieldReader, name: string): NodeId =>
  parseNodeId(reader.string(name, nameCharsMax)) ?? reader.fail(name, "a node's id");

const readPublicKey = (reader: FieldReader): string => {
  const text = reader.string('publicKey', nameCharsMax);
  const isKey = fromBase64Url(text)?.length === publicKeyBytes;
  return isKey ? text : reader.fail('publicKey', `base64url of ${publicKeyBytes} bytes`);
};

/** A name or an address, that of IPv6 without brackets: others connect to it. */
const hostPattern = /^[A-Za-z0-9._:%-]+$/;

const readAddresses = (reader: FieldReader): readonly PeerAddress[] =>
  reader.records('addresses', kvPeerAddressesMax, (item) => {
    const host = item.string('host', hostCharsMax);
    if (!hostPattern.test(host)) item.fail('host', 'a name or an IP address');
    return {
      transport: item.oneOf('transport', peerTransports),
      host,
      port: item.integer('port', 1, 65_535),
    };
  });

export const parseKvPeer = (payload: Uint8Array): KvPeer => {
  const reader = readerOf(payload, 'KVPEER');
  return {
    publicKey: readPublicKey(reader),
    addresses: readAddresses(reader),
    reach: reader.records('reach', kvFabricNodesMax, (item) => ({
      node: readNode(item, 'node'),
      transport: item.oneOf('transport', peerTransports),
      rttMs: item.number('rttMs', 0, peerRttMsMax),
      bytesPerMs: item.number('bytesPerMs', 0, bytesPerMsMax),
    })),
    replicas: reader.records('replicas', replicasPerNodeMax, (item) => ({
      name: item.name('name', nameCharsMax) as ReplicaName,
      namespace: item.name('namespace', nameCharsMax),
      bytesPerToken: item.number('bytesPerToken', 1, bytesPerTokenMax),
      insertBytesPerMs: item.number('insertBytesPerMs', 1, bytesPerMsMax),
    })),
  };
};

const readPeer = (item: FieldReader): FabricPeer => ({
  node: readNode(item, 'node'),
  name: item.name('name', nameCharsMax),
  publicKey: readPublicKey(item),
  addresses: readAddresses(item),
});

export const parseKvFabric = (payload: Uint8Array): KvFabric => {
  const reader = readerOf(payload, 'KVFABRIC');
  return {
    ca: reader.string('ca', pemCharsMax),
    certificate: reader.string('certificate', pemCharsMax),
    peers: reader.records('peers', kvFabricNodesMax, readPeer),
  };
};

const holderNodesMax = Math.min(kvFabricNodesMax, kvAskDigestsMax * kvHoldersPerDigestMax);

export const parseKvHolders = (payload: Uint8Array): KvHolders => {
  const reader = readerOf(payload, 'KVHOLDERS');
  const nodes = reader.list('nodes', holderNodesMax).map((node) => {
    const id = typeof node === 'string' ? parseNodeId(node) : undefined;
    return id ?? reader.fail('nodes', "a list of nodes' ids");
  });
  const isPlace = (place: unknown): place is number =>
    typeof place === 'number' && Number.isSafeInteger(place) && place >= 0 && place < nodes.length;
  const isPlaces = (places: unknown): places is readonly number[] =>
    Array.isArray(places) && places.length <= kvHoldersPerDigestMax && places.every(isPlace);
  const holders = reader
    .list('holders', kvAskDigestsMax)
    .map((places) => (isPlaces(places) ? places : reader.fail('holders', 'lists of places in nodes')));
  return { ask: reader.integer('ask', 0, u32Max), nodes, holders };
};

/** The holders of each digest by name. */
export const holdersByDigest = ({ nodes, holders }: KvHolders): readonly (readonly NodeId[])[] =>
  holders.map((places) => places.flatMap((place) => nodes[place] ?? []));

export const readKvSource = (record: JsonRecord): KvSource => {
  const reader = new FieldReader(record, 'protocol_error', 'OPEN: kvFrom');
  return { node: readNode(reader, 'node'), blocks: reader.integer('blocks', 1, prefixBlocksMax) };
};

const writeDigests = (view: DataView, from: number, digests: Uint32Array): number => {
  for (const [at, word] of digests.entries()) view.setUint32(from + 4 * at, word, true);
  return from + 4 * digests.length;
};

const readDigests = (view: DataView, from: number, count: number): Uint32Array => {
  const digests = new Uint32Array(2 * count);
  for (let word = 0; word < digests.length; word += 1) digests[word] = view.getUint32(from + 4 * word, true);
  return digests;
};

/** At most `kvDigestsPerMessageMax` digests, which the caller sees to. */
export const encodeKvHeld = ({ isCleared, added, removed }: KvHeld): Uint8Array => {
  const payload = new Uint8Array(heldHeadBytes + 4 * (added.length + removed.length));
  const view = new DataView(payload.buffer);
  view.setUint8(0, isCleared ? flagCleared : 0);
  view.setUint32(4, added.length / 2);
  view.setUint32(8, removed.length / 2);
  writeDigests(view, writeDigests(view, heldHeadBytes, added), removed);
  return payload;
};

/** At most `kvAskDigestsMax` digests, which the caller sees to. */
export const encodeKvAsk = ({ ask, digests }: KvAsk): Uint8Array => {
  const payload = new Uint8Array(askHeadBytes + 4 * digests.length);
  const view = new DataView(payload.buffer);
  view.setUint32(0, ask);
  writeDigests(view, askHeadBytes, digests);
  return payload;
};

const refuse = (what: string, why: string): never => {
  throw new CognitoraError('protocol_error', `${what} ${why}`);
};

const viewOf = (payload: Uint8Array, headBytes: number, what: string): DataView => {
  if (payload.length < headBytes) refuse(what, `is shorter than its ${headBytes} bytes of head`);
  return new DataView(payload.buffer, payload.byteOffset, payload.length);
};

export const parseKvHeld = (payload: Uint8Array): KvHeld => {
  const view = viewOf(payload, heldHeadBytes, 'KVHELD');
  const added = view.getUint32(4);
  const removed = view.getUint32(8);
  if (added + removed > kvDigestsPerMessageMax) refuse('KVHELD', 'holds too many digests');
  if (payload.length !== heldHeadBytes + digestBytes * (added + removed)) {
    refuse('KVHELD', 'ends elsewhere than behind its digests');
  }
  return {
    isCleared: (view.getUint8(0) & flagCleared) !== 0,
    added: readDigests(view, heldHeadBytes, added),
    removed: readDigests(view, heldHeadBytes + digestBytes * added, removed),
  };
};

export const parseKvAsk = (payload: Uint8Array): KvAsk => {
  const view = viewOf(payload, askHeadBytes, 'KVASK');
  const digests = (payload.length - askHeadBytes) / digestBytes;
  if (!Number.isInteger(digests)) refuse('KVASK', 'ends within a digest');
  if (digests > kvAskDigestsMax) refuse('KVASK', `holds more than ${kvAskDigestsMax} digests`);
  return { ask: view.getUint32(0), digests: readDigests(view, askHeadBytes, digests) };
};
