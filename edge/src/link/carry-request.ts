/**
 * How the Worker asks an object to carry a request, or to accept a link: the few headers between them. Both ends are
 * one bundle and nothing from outside reaches an object without the Worker, so these are trusted.
 */
import type { Epoch, NodeId, Region, ReplicaName, RequestId } from '@cognitora/protocol/ids';
import type { KvSource } from '@cognitora/protocol/kv-fabric';
import type { OpenRequest, ResumeToken } from '@cognitora/protocol/link';
import type { Demand } from '../demand.ts';
import type { Asked } from '../directory/asked.ts';
import { type PromptView, unreadPrompt } from '../directory/decision.ts';
import type { Reservation } from '../directory/load.ts';
import type { EarlierAttempt, Occasion, ReceiptNote } from '../directory/receipts.ts';
import { type Outcome, unwrap } from '../outcome.ts';

export const decideHeader = 'x-cognitora-decide';
export const openHeader = 'x-cognitora-open';
export const resumeHeader = 'x-cognitora-resume';
export const chainHeader = 'x-cognitora-chain';
const regionHeader = 'x-cognitora-region';
const nodeHeader = 'x-cognitora-node';
const dialedHeader = 'x-cognitora-dialed-at-ms';
const checkedHeader = 'x-cognitora-checked-at-ms';

/** What was decided before, in the layout where deciding and carrying are two hops. */
export interface Booked {
  readonly reservation: Reservation;
  readonly node: NodeId;
  readonly epoch: Epoch;
  readonly replica: ReplicaName;
  readonly receipt: ReceiptNote;
  /** Whose KV the node had better fetch first. */
  readonly kvFrom?: KvSource;
}

/** What travels of a prompt beside its digests. */
export type PromptNote = Omit<PromptView, 'chain'>;

export interface CarryRequest {
  readonly region: Region;
  readonly demand: Demand;
  readonly open: Omit<OpenRequest, 'replica'>;
  /** Absent when it is booked, or when nobody's cache of the model is known. */
  readonly prompt?: PromptNote;
  readonly booked?: Booked;
  /** Where it was before. */
  readonly earlier: readonly EarlierAttempt[];
  readonly occasion: Occasion;
  /** See `Asked`. */
  readonly awaitsNodes: boolean;
  /** The client's address, where its supervisor may say that it hung up. */
  readonly client?: string;
}

/** A stream whose link was lost, to go on over its node's next one. */
export interface ResumeCarry {
  readonly region: Region;
  readonly node: NodeId;
  readonly replica: ReplicaName;
  readonly requestId: RequestId;
  readonly model: string;
  readonly stream: boolean;
  readonly token: ResumeToken;
  /** Bytes of the engine's answer that arrived. */
  readonly offset: number;
  readonly remainingMs: number;
  readonly demand: Demand;
  /** How long the node's next link is waited for. */
  readonly waitMs: number;
  readonly earlier: readonly EarlierAttempt[];
  readonly client?: string;
}

/** Header values are ASCII, so everything else is escaped as JSON allows. */
const toAscii = (json: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII is the point.
  json.replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

export const encodeCarry = (carry: CarryRequest | ResumeCarry): string => toAscii(JSON.stringify(carry));

export const decodeCarry = (headers: Headers): CarryRequest =>
  JSON.parse(headers.get(openHeader) ?? '{}') as CarryRequest;

export const decodeResume = (headers: Headers): ResumeCarry =>
  JSON.parse(headers.get(resumeHeader) ?? '{}') as ResumeCarry;

/** Digests as a header's value: base64 of their words, little endian; at most 16 KiB, so one call may spread them. */
export const encodeChain = (chain: Uint32Array): string =>
  btoa(String.fromCharCode(...new Uint8Array(chain.buffer, chain.byteOffset, chain.byteLength)));

/**
 * Asks a region to choose and book, in the layout where another object carries. By a fetch, not by a call: `gone` ends
 * the wait for a seat only so.
 */
export const askDecision = async (
  region: Pick<Fetcher, 'fetch'>,
  { prompt: { chain, ...prompt }, ...asked }: Asked,
  gone: AbortSignal,
): Promise<Booked> => {
  const headers = {
    [decideHeader]: toAscii(JSON.stringify({ ...asked, prompt })),
    [chainHeader]: encodeChain(chain),
  };
  const answer = await region.fetch('https://object/decide', { headers, signal: gone });
  return unwrap((await answer.json()) as Outcome<Booked>);
};

export const decodeAsked = (headers: Headers): Asked => {
  const asked = JSON.parse(headers.get(decideHeader) ?? '{}') as Omit<Asked, 'prompt'> & {
    prompt: PromptNote;
  };
  return { ...asked, prompt: decodePrompt(headers, asked.prompt) };
};

/** The prompt of a carried request; one that nobody digested when it came without. */
export const decodePrompt = (headers: Headers, note: PromptNote | undefined): PromptView => {
  if (note === undefined) return unreadPrompt;
  const binary = atob(headers.get(chainHeader) ?? '');
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return { ...note, chain: new Uint32Array(bytes.buffer) };
};

export interface DialTimes {
  /** By the host's clock. */
  readonly dialedAtMs: number;
  /** By ours, before its enrolment was looked up. */
  readonly checkedAtMs: number;
}

export interface LinkRequest extends DialTimes {
  readonly region: Region;
  readonly node: NodeId;
}

/** The upgrade request that the Worker hands to an object once the dial is checked. */
export const linkRequest = (link: LinkRequest): Request =>
  new Request('https://object/link', {
    headers: {
      upgrade: 'websocket',
      [regionHeader]: link.region,
      [nodeHeader]: link.node,
      [dialedHeader]: String(link.dialedAtMs),
      [checkedHeader]: String(link.checkedAtMs),
    },
  });

export const readLinkRequest = (headers: Headers): LinkRequest => ({
  region: headers.get(regionHeader) as Region,
  node: headers.get(nodeHeader) as NodeId,
  dialedAtMs: Number(headers.get(dialedHeader)),
  checkedAtMs: Number(headers.get(checkedHeader)),
});
