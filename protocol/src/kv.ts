/**
 * What an agent tells its edge of a replica's KV cache: which prefix digests the replica holds for one model, as deltas
 * in sequence and as snapshots when the edge asks for one. Types, encoders and the one parser of each message, which
 * copies what it reads. Knows no map and no engine, and never what a feed's number stands for.
 *
 *   KVFEED      JSON: the feed's number, replica, model, trust, prompt profile
 *   KVDELTA     u32 feed, u32 sequence, u8 flags, 3 x 0, sections
 *   KVSNAPSHOT  u32 feed, u32 request, u32 sequence, u32 part, u8 flags, 3 x 0, sections
 *   KVMARK      u32 feed, u32 sequence
 *   KVWANT      u32 feed, u32 request
 *   section     u8 kind, 3 x 0, u32 digests, then 8 bytes for each
 *
 * A digest's 8 bytes are those that its hash begins with; all other numbers are big endian.
 */
import { utf8 } from './bytes.ts';
import { CognitoraError } from './errors.ts';
import type { ReplicaName } from './ids.ts';
import { kvDigestsPerMessageMax, kvFeedsPerLinkMax, nameCharsMax } from './limits.ts';
import { type PromptProfile, parseProfile, profileMessage } from './prefix/profile.ts';
import { FieldReader, type JsonRecord, parseJsonRecord } from './shape.ts';

/** How much is known of what a replica has cached, from most to least. */
export const trusts = ['exact', 'approximate', 'blind'] as const;
export type Trust = (typeof trusts)[number];

export const tiers = ['device', 'host'] as const;
export type Tier = (typeof tiers)[number];

/** A replica's cache of one model, and how the edge is to write its prompts. `blind` ends what was said before. */
export interface KvFeedOpen {
  readonly feed: number;
  readonly replica: ReplicaName;
  readonly model: string;
  readonly trust: Trust;
  readonly profile: PromptProfile;
}

export interface KvBlocks {
  readonly tier: Tier;
  /** Pairs of low and high word: the digest's first 8 bytes, little endian. */
  readonly digests: Uint32Array;
}

/** One step of a ledger. Additions apply before removals, so what is in both is gone. */
export interface KvDelta {
  readonly feed: number;
  /** One more than that of the delta before it. */
  readonly sequence: number;
  /** All that was held before is gone: the engine restarted. */
  readonly isCleared: boolean;
  readonly added: readonly KvBlocks[];
  readonly removed: readonly KvBlocks[];
}

/** A piece of the ledger as it was right after the delta `sequence`. */
export interface KvSnapshotPart {
  readonly feed: number;
  /** The number of the KVWANT that it answers. */
  readonly request: number;
  readonly sequence: number;
  /** 0, 1, 2 and so on. */
  readonly part: number;
  readonly isLast: boolean;
  readonly blocks: readonly KvBlocks[];
}

/** The last sequence that a ledger has reached: shows the loss of the latest delta. */
export interface KvMark {
  readonly feed: number;
  readonly sequence: number;
}

/** The edge asks for a snapshot. */
export interface KvWant {
  readonly feed: number;
  /** A number that no other KVWANT of this link has. */
  readonly request: number;
}

/** Bit 0 of the flags: of a delta that all before is gone, of a snapshot that this is its last part. */
const flagSet = 0x01;

/** What a section does, by its kind's number. A receiver skips kinds that it does not know. */
const sectionKinds: readonly { readonly tier: Tier; readonly removes: boolean }[] = [
  { tier: 'device', removes: false },
  { tier: 'host', removes: false },
  { tier: 'device', removes: true },
  { tier: 'host', removes: true },
];
const sectionHeadBytes = 8;
const digestBytes = 8;

export const encodeKvFeed = ({ profile, ...open }: KvFeedOpen): Uint8Array =>
  utf8(JSON.stringify({ ...open, profile: profileMessage(profile) }));

export const parseKvFeed = (payload: Uint8Array): KvFeedOpen => {
  const record: JsonRecord = parseJsonRecord(payload, 'protocol_error', 'KVFEED');
  const reader: FieldReader = new FieldReader(record, 'protocol_error', 'KVFEED');
  return {
    feed: reader.integer('feed', 0, kvFeedsPerLinkMax - 1),
    replica: reader.name('replica', nameCharsMax) as ReplicaName,
    model: reader.name('model', nameCharsMax),
    trust: reader.oneOf('trust', trusts),
    profile: parseProfile(reader.record('profile')),
  };
};

/** A message's numbers at its head, and room for `moreBytes` behind them. */
const withHead = (numbers: readonly number[], moreBytes: number): Uint8Array<ArrayBuffer> => {
  const payload = new Uint8Array(4 * numbers.length + moreBytes);
  const view = new DataView(payload.buffer);
  for (const [index, value] of numbers.entries()) view.setUint32(4 * index, value);
  return payload;
};

const flagWord = (isSet: boolean): number => (isSet ? flagSet * 2 ** 24 : 0);

const sectionBytes = (blocks: readonly KvBlocks[]): number =>
  blocks.reduce((sum, { digests }) => sum + sectionHeadBytes + digests.length * 4, 0);

/** Writes sections from `from`; returns the position after them. */
const writeSections = (
  payload: Uint8Array<ArrayBuffer>,
  from: number,
  blocks: readonly KvBlocks[],
  removes: boolean,
): number => {
  const view = new DataView(payload.buffer);
  let at = from;
  for (const { tier, digests } of blocks) {
    payload[at] = sectionKinds.findIndex((kind) => kind.tier === tier && kind.removes === removes);
    view.setUint32(at + 4, digests.length / 2);
    at += sectionHeadBytes;
    for (const word of digests) {
      view.setUint32(at, word, true);
      at += 4;
    }
  }
  return at;
};

const deltaHeadBytes = 12;

/** At most `kvDigestsPerMessageMax` digests, which the caller sees to. */
export const encodeKvDelta = ({ feed, sequence, isCleared, added, removed }: KvDelta): Uint8Array => {
  const payload = withHead(
    [feed, sequence, flagWord(isCleared)],
    sectionBytes(added) + sectionBytes(removed),
  );
  writeSections(payload, writeSections(payload, deltaHeadBytes, added, false), removed, true);
  return payload;
};

const snapshotHeadBytes = 20;

/** At most `kvDigestsPerMessageMax` digests, which the caller sees to. */
export const encodeKvSnapshot = (snapshot: KvSnapshotPart): Uint8Array => {
  const { feed, request, sequence, part, isLast, blocks } = snapshot;
  const payload = withHead([feed, request, sequence, part, flagWord(isLast)], sectionBytes(blocks));
  writeSections(payload, snapshotHeadBytes, blocks, false);
  return payload;
};

export const encodeKvMark = ({ feed, sequence }: KvMark): Uint8Array => withHead([feed, sequence], 0);
export const encodeKvWant = ({ feed, request }: KvWant): Uint8Array => withHead([feed, request], 0);

const refuse = (what: string, why: string): never => {
  throw new CognitoraError('protocol_error', `${what} ${why}`);
};

const viewOf = (payload: Uint8Array, headBytes: number, what: string): DataView => {
  if (payload.length < headBytes) refuse(what, `is shorter than its ${headBytes} bytes of head`);
  return new DataView(payload.buffer, payload.byteOffset, payload.length);
};

interface Sections {
  readonly added: readonly KvBlocks[];
  readonly removed: readonly KvBlocks[];
}

const readDigests = (view: DataView, from: number, count: number): Uint32Array => {
  const digests = new Uint32Array(2 * count);
  for (let word = 0; word < digests.length; word += 1) digests[word] = view.getUint32(from + 4 * word, true);
  return digests;
};

const readSections = (view: DataView, from: number, what: string): Sections => {
  const added: KvBlocks[] = [];
  const removed: KvBlocks[] = [];
  let at = from;
  let digestsLeft = kvDigestsPerMessageMax;
  while (at < view.byteLength) {
    if (view.byteLength - at < sectionHeadBytes) refuse(what, 'ends within the head of a section');
    const kind = sectionKinds[view.getUint8(at)];
    const count = view.getUint32(at + 4);
    at += sectionHeadBytes;
    digestsLeft -= count;
    if (digestsLeft < 0) refuse(what, `holds more than ${kvDigestsPerMessageMax} digests`);
    if (view.byteLength - at < count * digestBytes) refuse(what, 'ends within a section');
    if (kind !== undefined) {
      const blocks = { tier: kind.tier, digests: readDigests(view, at, count) };
      (kind.removes ? removed : added).push(blocks);
    }
    at += count * digestBytes;
  }
  return { added, removed };
};

export const parseKvDelta = (payload: Uint8Array): KvDelta => {
  const view = viewOf(payload, deltaHeadBytes, 'KVDELTA');
  return {
    feed: view.getUint32(0),
    sequence: view.getUint32(4),
    isCleared: (view.getUint8(8) & flagSet) !== 0,
    ...readSections(view, deltaHeadBytes, 'KVDELTA'),
  };
};

export const parseKvSnapshot = (payload: Uint8Array): KvSnapshotPart => {
  const view = viewOf(payload, snapshotHeadBytes, 'KVSNAPSHOT');
  const { added, removed } = readSections(view, snapshotHeadBytes, 'KVSNAPSHOT');
  if (removed.length > 0) refuse('KVSNAPSHOT', 'holds removals');
  return {
    feed: view.getUint32(0),
    request: view.getUint32(4),
    sequence: view.getUint32(8),
    part: view.getUint32(12),
    isLast: (view.getUint8(16) & flagSet) !== 0,
    blocks: added,
  };
};

/** Of a delta, a snapshot's part or a want: its feed, and what stands behind that, without a look at the rest. */
export const kvAddress = (payload: Uint8Array): { readonly feed: number; readonly request: number } => {
  const view = viewOf(payload, 8, 'a KV message');
  return { feed: view.getUint32(0), request: view.getUint32(4) };
};

const readPair = (payload: Uint8Array, what: string): readonly [number, number] => {
  if (payload.length !== 8) refuse(what, 'carries exactly 8 bytes');
  const view = viewOf(payload, 8, what);
  return [view.getUint32(0), view.getUint32(4)];
};

export const parseKvMark = (payload: Uint8Array): KvMark => {
  const [feed, sequence] = readPair(payload, 'KVMARK');
  return { feed, sequence };
};

export const parseKvWant = (payload: Uint8Array): KvWant => {
  const [feed, request] = readPair(payload, 'KVWANT');
  return { feed, request };
};
