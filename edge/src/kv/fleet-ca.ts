/**
 * The fleet's certificate authority: one for a deployment, and certificates over nodes' own keys, Ed25519 both. Its key
 * comes from the fleet's secret by HKDF, so it is the same wherever and whenever it is made and lies in no database;
 * another secret makes another CA, as it makes other tokens. Writes just the DER that such certificates are made of: a
 * library for X.509 would be larger than all of the edge. Reads no certificate and holds no roster.
 */
import { fromBase64Url, joinBytes, utf8 } from '@cognitora/protocol/bytes';
import type { NodeId } from '@cognitora/protocol/ids';
import { isoTimeOf } from '../clock.ts';
import { randomBytes } from '../random.ts';

/** A node's certificate is valid so long, and renewed once half of that has passed. */
export const nodeCertificateMs = 7 * 24 * 3_600_000;
/** It begins so long ago: hosts' clocks differ. */
const skewMs = 3_600_000;
/** Never earlier than any certificate, and the last second that DER writes with two digits for the year. */
const caNotBefore = Date.UTC(2026, 0, 1);
const caNotAfter = Date.UTC(2049, 11, 31, 23, 59, 59);

export interface FleetCa {
  /** PEM of its own certificate. */
  readonly certificate: string;
  /** PEM of a certificate over a node's raw public key; its subject, and its name in DNS, is the node's id. */
  issue(node: NodeId, publicKey: Uint8Array, nowMs: number): Promise<string>;
}

const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  sequence: 0x30,
  set: 0x31,
} as const;

/** A tag, the length of what it holds, and that. */
const der = (tag: number, ...parts: readonly Uint8Array[]): Uint8Array => {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > 0xffff) throw new RangeError(`${length} bytes of DER`);
  const head = [tag];
  if (length < 0x80) head.push(length);
  else if (length <= 0xff) head.push(0x81, length);
  else head.push(0x82, length >> 8, length & 0xff);
  return joinBytes([Uint8Array.from(head), ...parts]);
};

const sequence = (...parts: readonly Uint8Array[]): Uint8Array => der(tags.sequence, ...parts);

/** Of an object id whose first two numbers are 1.3 or 2.5, and whose others are below 2^14. */
const objectId = (...numbers: readonly number[]): Uint8Array => {
  const [first = 0, second = 0, ...others] = numbers;
  const bytes = others.flatMap((number) =>
    number < 0x80 ? [number] : [0x80 | (number >> 7), number & 0x7f],
  );
  return der(tags.objectId, Uint8Array.from([first * 40 + second, ...bytes]));
};

/** A positive integer whose first byte is 1 to 127: no shorter way to write it is left, and none is negative. */
const integer = (bytes: Uint8Array): Uint8Array => der(tags.integer, bytes);

const newSerial = (): Uint8Array => {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
};

const bitString = (bytes: Uint8Array, unusedBits = 0): Uint8Array =>
  der(tags.bitString, Uint8Array.of(unusedBits), bytes);

/** `YYMMDDhhmmssZ`: up to 2049. */
const utcTime = (ms: number): Uint8Array =>
  der(tags.utcTime, utf8(`${isoTimeOf(ms).slice(2, 19).replaceAll(/[-:T]/g, '')}Z`));

const commonName = (name: string): Uint8Array =>
  sequence(der(tags.set, sequence(objectId(2, 5, 4, 3), der(tags.utf8String, utf8(name)))));

const ed25519 = sequence(objectId(1, 3, 101, 112));

const critical = der(tags.boolean, Uint8Array.of(0xff));

/** An extension of the arc 2.5.29. */
const extension = (number: number, isCritical: boolean, value: Uint8Array): Uint8Array =>
  sequence(objectId(2, 5, 29, number), ...(isCritical ? [critical] : []), der(tags.octetString, value));

const subjectKeyId = 14;
const keyUsage = 15;
const subjectAltName = 17;
const basicConstraints = 19;
const authorityKeyId = 35;
const extendedKeyUsage = 37;

/** Tags of choices within a certificate: `[0]`, `[2]` and `[3]`. */
const explicit0 = 0xa0;
const implicit0 = 0x80;
const implicitDnsName = 0x82;
const explicit3 = 0xa3;

const pem = (bytes: Uint8Array): string => {
  const lines = btoa(String.fromCharCode(...bytes)).match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
};

const keyIdOf = async (publicKey: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', publicKey)).subarray(0, 20);

interface Certified {
  readonly serial: Uint8Array;
  readonly issuer: string;
  readonly subject: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

/** As Node and workerd both call it. */
type SigningKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

const sign = async (key: SigningKey, certified: Certified): Promise<string> => {
  const { serial, issuer, subject, notBefore, notAfter, publicKey, extensions } = certified;
  const toSign = sequence(
    der(explicit0, integer(Uint8Array.of(2))),
    integer(serial),
    ed25519,
    commonName(issuer),
    sequence(utcTime(notBefore), utcTime(notAfter)),
    commonName(subject),
    sequence(ed25519, bitString(publicKey)),
    der(explicit3, sequence(...extensions)),
  );
  const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', key, toSign));
  return pem(sequence(toSign, ed25519, bitString(signature)));
};

/** The private key, and its public half as WebCrypto gives it away. */
const keysOf = async (fleetSecret: string): Promise<{ key: SigningKey; publicKey: Uint8Array }> => {
  const secret = await crypto.subtle.importKey('raw', utf8(fleetSecret), 'HKDF', false, ['deriveBits']);
  const terms = {
    name: 'HKDF',
    hash: 'SHA-256',
    salt: new Uint8Array(),
    info: utf8('cognitora fleet ca v1'),
  };
  const seed = new Uint8Array(await crypto.subtle.deriveBits(terms, secret, 256));
  // PKCS #8: version 0, the algorithm, the seed as an octet string within one.
  const pkcs8 = sequence(
    der(tags.integer, new Uint8Array(1)),
    ed25519,
    der(tags.octetString, der(tags.octetString, seed)),
  );
  const key = await crypto.subtle.importKey('pkcs8', pkcs8, { name: 'Ed25519' }, true, ['sign']);
  const { x = '' } = (await crypto.subtle.exportKey('jwk', key)) as { readonly x?: string };
  return { key, publicKey: fromBase64Url(x) ?? new Uint8Array() };
};

export const fleetCaOf = async (fleetSecret: string): Promise<FleetCa> => {
  const { key, publicKey } = await keysOf(fleetSecret);
  const keyId = await keyIdOf(publicKey);
  const issuer = 'cognitora fleet';
  const authority = extension(authorityKeyId, false, sequence(der(implicit0, keyId)));
  const certificate = await sign(key, {
    serial: Uint8Array.of(1),
    ...{ issuer, subject: issuer, notBefore: caNotBefore, notAfter: caNotAfter, publicKey },
    extensions: [
      extension(basicConstraints, true, sequence(critical)),
      // keyCertSign, the sixth bit.
      extension(keyUsage, true, bitString(Uint8Array.of(0x04), 2)),
      extension(subjectKeyId, false, der(tags.octetString, keyId)),
    ],
  });
  const issue = async (node: NodeId, nodeKey: Uint8Array, nowMs: number): Promise<string> => {
    const usages = [1, 2].map((usage) => objectId(1, 3, 6, 1, 5, 5, 7, 3, usage));
    return sign(key, {
      serial: newSerial(),
      ...{ issuer, subject: node, publicKey: nodeKey },
      ...{ notBefore: nowMs - skewMs, notAfter: nowMs + nodeCertificateMs },
      extensions: [
        extension(basicConstraints, true, sequence()),
        // digitalSignature, the first bit.
        extension(keyUsage, true, bitString(Uint8Array.of(0x80), 7)),
        extension(extendedKeyUsage, false, sequence(...usages)),
        extension(subjectAltName, false, sequence(der(implicitDnsName, utf8(node)))),
        extension(subjectKeyId, false, der(tags.octetString, await keyIdOf(nodeKey))),
        authority,
      ],
    });
  };
  return { certificate, issue };
};
