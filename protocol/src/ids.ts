/**
 * Branded identifiers. A brand costs nothing at run time and keeps a node's id from being passed as a replica's.
 * Makers of ids live where the randomness is injected; this file only names them and joins them.
 */

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** `n` and 26 base32 characters: the first 130 bits of SHA-256 over the node's Ed25519 public key. */
export type NodeId = Branded<string, 'NodeId'>;
/** A replica's name within its node, as the agent chose it. */
export type ReplicaName = Branded<string, 'ReplicaName'>;
/** `<NodeId>/<ReplicaName>`: unique in a region. */
export type ReplicaId = Branded<string, 'ReplicaId'>;
/** A request's id: the client's `x-request-id` when it is well formed, else one the edge made. */
export type RequestId = Branded<string, 'RequestId'>;
/** A stream's number on one link, chosen by the edge, 1 to 2^32-1, never reused while the link lives. */
export type StreamId = Branded<number, 'StreamId'>;
/** Numbers the connections of one node; only the newest may speak. */
export type Epoch = Branded<number, 'Epoch'>;
/** A place where requests are placed, such as `weur` or `local`. */
export type Region = Branded<string, 'Region'>;

/** The stream number that means the whole link (credit, HELLO, GOAWAY). */
export const linkStream = 0 as StreamId;

const nodeIdPattern = /^n[a-z2-7]{26}$/;

/** A node's id if it is well formed. */
export const parseNodeId = (text: string): NodeId | undefined =>
  nodeIdPattern.test(text) ? (text as NodeId) : undefined;

export const replicaIdOf = (node: NodeId, name: ReplicaName): ReplicaId => `${node}/${name}` as ReplicaId;

/** What a client may choose as `x-request-id`: printable, no separators that a log or header would trip on. */
const requestIdPattern = /^[A-Za-z0-9._:-]{1,128}$/;

/** The client's id if it is well formed. */
export const parseRequestId = (text: string | null | undefined): RequestId | undefined =>
  text && requestIdPattern.test(text) ? (text as RequestId) : undefined;

const regionPattern = /^[a-z][a-z0-9-]{0,31}$/;

/** A region's name if it is well formed. */
export const parseRegion = (text: string): Region | undefined =>
  regionPattern.test(text) ? (text as Region) : undefined;
