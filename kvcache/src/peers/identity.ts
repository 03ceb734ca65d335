/**
 * The node's key as peers see it. Read from the file that the agent keeps (`node.key`), never written, never logged.
 * For QUIC a key is a PeerId of libp2p: a few bytes around the same Ed25519 key, in base58.
 */
import { createHash, createPrivateKey, type KeyObject } from 'node:crypto';
import { nodeIdOf } from '@cognitora/protocol/identity';
import type { NodeId } from '@cognitora/protocol/ids';

export interface NodeKey {
  readonly node: NodeId;
  readonly privateKey: KeyObject;
  /** 32 bytes. */
  readonly publicKey: Buffer;
}

/** A node's id is the hash of its key. */
export const nodeOf = (publicKey: Buffer): NodeId =>
  nodeIdOf(createHash('sha256').update(publicKey).digest());

/** Throws when it is no Ed25519 key. */
export const nodeKeyOf = (pem: string | Buffer): NodeKey => {
  const privateKey = createPrivateKey(pem);
  if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error("a node's key is Ed25519");
  const publicKey = rawOf(privateKey);
  return { node: nodeOf(publicKey), privateKey, publicKey };
};

/** The raw public key of an Ed25519 key, public or private. */
export const rawOf = (key: KeyObject): Buffer =>
  Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');

/** `PrivateKey{Type: Ed25519, Data: seed and public key}` of libp2p's `crypto.proto`. */
export const libp2pPrivateKeyOf = ({ privateKey, publicKey }: NodeKey): Buffer => {
  const { d = '' } = privateKey.export({ format: 'jwk' });
  return Buffer.concat([Buffer.from([0x08, 0x01, 0x12, 0x40]), Buffer.from(d, 'base64url'), publicKey]);
};

/** An identity multihash of 36 bytes: `PublicKey{Type: Ed25519, Data: 32 bytes}`. */
const peerIdPrefix = Buffer.from([0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);

/** The raw key of the PeerId at the end of a multiaddr; undefined when there is none of an Ed25519 key. */
export const publicKeyIn = (multiaddr: string): Buffer | undefined => {
  const [, text] = /\/p2p\/([1-9A-HJ-NP-Za-km-z]{1,64})$/.exec(multiaddr) ?? [];
  const bytes = text === undefined ? undefined : fromBase58(text);
  if (bytes === undefined || bytes.length !== 38 || !bytes.subarray(0, 6).equals(peerIdPrefix))
    return undefined;
  return bytes.subarray(6);
};

const base58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

const fromBase58 = (text: string): Buffer => {
  let value = 0n;
  for (const character of text) value = value * 58n + BigInt(base58.indexOf(character));
  const hex = value === 0n ? '' : value.toString(16);
  const zeros = leading([...text], '1');
  return Buffer.concat([
    Buffer.alloc(zeros),
    Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'),
  ]);
};

const leading = <Item>(items: Iterable<Item>, zero: Item): number => {
  let count = 0;
  for (const item of items) {
    if (item !== zero) return count;
    count += 1;
  }
  return count;
};
