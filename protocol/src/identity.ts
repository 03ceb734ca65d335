/**
 * What identity looks like in bytes: tokens, the strings that are signed, and the header of a dial. Pure; the keys
 * and the checking live with each end. Formats:
 *
 *   API key      cgk_<base64url of 24 random bytes, then 8 bytes of HMAC>   (the HMAC lets a Worker refuse a forgery
 *   join token   cgj_<same>                                                 without waking an object)
 *   dial header  Authorization: Cognitora-Node <node id>.<public key>.<certificate>.<time ms>.<nonce>.<signature>
 */
import { fromBase64Url, toBase32, utf8 } from './bytes.ts';
import { type NodeId, parseNodeId, type Region } from './ids.ts';
import { dialSkewMsMax } from './limits.ts';

export const tokenKinds = { apiKey: 'cgk_', joinToken: 'cgj_' } as const;
export type TokenKind = keyof typeof tokenKinds;

export const tokenRandomBytes = 24;
export const tokenTagBytes = 8;

/** The random part and the tag of a well-formed token of that kind. */
export const parseToken = (
  kind: TokenKind,
  text: string,
): { readonly random: Uint8Array; readonly tag: Uint8Array } | undefined => {
  const prefix = tokenKinds[kind];
  if (!text.startsWith(prefix)) return undefined;
  const bytes = fromBase64Url(text.slice(prefix.length));
  if (bytes === undefined || bytes.length !== tokenRandomBytes + tokenTagBytes) return undefined;
  return { random: bytes.subarray(0, tokenRandomBytes), tag: bytes.subarray(tokenRandomBytes) };
};

/** A node's id from the SHA-256 of its raw Ed25519 public key. */
export const nodeIdOf = (publicKeySha256: Uint8Array): NodeId =>
  `n${toBase32(publicKeySha256, 26)}` as NodeId;

/** What the edge authenticates with its fleet secret when it enrols a node. */
export const certificateText = (node: NodeId): Uint8Array => utf8(`cognitora node v1\n${node}`);

/** What the host signs to enrol: possession of the key, for this edge. */
export const enrolmentText = (origin: string, publicKey: string): Uint8Array =>
  utf8(`cognitora enrol v1\n${origin}\n${publicKey}`);

export interface Dial {
  readonly node: NodeId;
  /** base64url of the 32 raw bytes. */
  readonly publicKey: string;
  /** base64url of the edge's HMAC over `certificateText`. */
  readonly certificate: string;
  readonly timeMs: number;
  readonly nonce: string;
  /** base64url of the Ed25519 signature over `dialText`. */
  readonly signature: string;
}

/** What the host signs for each dial; `region` is empty when it leaves the choice to the edge. */
export const dialText = (
  origin: string,
  region: Region | '',
  dial: Pick<Dial, 'node' | 'timeMs' | 'nonce'>,
): Uint8Array => utf8(`cognitora dial v1\n${origin}\n${region}\n${dial.node}\n${dial.timeMs}\n${dial.nonce}`);

/**
 * The time of a dial made at `nowMs`: behind the last one's, since an edge takes no other, also after the clock was set
 * back. From further ahead than an edge allows no dial was taken.
 */
export const nextDialMs = (lastMs: number, nowMs: number): number =>
  lastMs < nowMs || lastMs - nowMs > dialSkewMsMax ? nowMs : lastMs + 1;

export const dialScheme = 'Cognitora-Node ';

export const formatDial = (dial: Dial): string =>
  dialScheme +
  [dial.node, dial.publicKey, dial.certificate, String(dial.timeMs), dial.nonce, dial.signature].join('.');

export const parseDial = (header: string | null): Dial | undefined => {
  if (header === null || header.length > 1024 || !header.startsWith(dialScheme)) return undefined;
  const parts = header.slice(dialScheme.length).split('.');
  const [id, publicKey, certificate, time, nonce, signature] = parts;
  const node = parseNodeId(id ?? '');
  if (parts.length !== 6 || !node || !publicKey || !certificate || !time || !nonce || !signature)
    return undefined;
  if (!/^\d{1,15}$/.test(time) || !/^[A-Za-z0-9_-]{16,64}$/.test(nonce)) return undefined;
  return { node, publicKey, certificate, timeMs: Number(time), nonce, signature };
};
