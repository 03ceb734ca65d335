/**
 * Certificates for tests, made on the spot: Node makes keys and signatures but no certificates, and a test must not
 * need another program. RFC 5280 in the few lines that an Ed25519 certificate takes. Imports no code of the product.
 */
import { type KeyObject, randomBytes, sign } from 'node:crypto';

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const header = length < 128 ? [tag, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
};
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const identifier = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const bits = (content: Uint8Array): Buffer => der(0x03, Buffer.from([0]), content);
const isTrue = der(0x01, Buffer.from([0xff]));
const utcTime = (ms: number): Buffer => {
  const [, digits = ''] = /^20(\d{12})/.exec(new Date(ms).toISOString().replace(/[-:T]/g, '')) ?? [];
  return der(0x17, Buffer.from(`${digits}Z`));
};
const nameOf = (text: string): Buffer =>
  sequence(der(0x31, sequence(identifier('550403'), der(0x0c, Buffer.from(text)))));

const ed25519 = sequence(identifier('2b6570'));
/** Basic constraints, critical: a CA. */
export const isAuthority = sequence(identifier('551d13'), isTrue, der(0x04, sequence(isTrue)));

export interface Validity {
  readonly fromMs: number;
  readonly toMs: number;
}

const hourMs = 3_600_000;
export const aroundNow = (): Validity => ({ fromMs: Date.now() - hourMs, toMs: Date.now() + hourMs });

/** Subject alternative names: `localhost` and 127.0.0.1. */
export const isThisMachine = sequence(
  identifier('551d11'),
  der(0x04, sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])))),
);

interface Certificate extends Partial<Validity> {
  readonly subject: string;
  readonly issuer: string;
  readonly key: KeyObject;
  readonly signer: KeyObject;
  readonly extensions?: readonly Buffer[];
}

/** PEM. */
export const certificateOf = ({
  subject,
  issuer,
  key,
  signer,
  extensions = [],
  ...validity
}: Certificate): string => {
  const { fromMs, toMs } = { ...aroundNow(), ...validity };
  const version3 = der(0xa0, der(0x02, Buffer.from([2])));
  const serial = der(0x02, Buffer.from([1]), randomBytes(8));
  const valid = sequence(utcTime(fromMs), utcTime(toMs));
  const extra = extensions.length === 0 ? [] : [der(0xa3, sequence(...extensions))];
  const spki = key.export({ type: 'spki', format: 'der' });
  const parts = [version3, serial, ed25519, nameOf(issuer), valid, nameOf(subject), spki, ...extra];
  const signed = sequence(...parts);
  const whole = sequence(signed, ed25519, bits(sign(null, signed, signer)));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
};
