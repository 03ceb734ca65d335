/**
 * A self-signed certificate for names on this machine, made on the spot: Node makes keys and signatures but no
 * certificates, and a test must not need another program. RFC 5280 in the few lines that one of them takes.
 */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

export interface SelfSigned {
  /** PEM, both. */
  readonly certificate: string;
  readonly privateKey: string;
}

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const header = length < 128 ? [tag, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
};
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const identifier = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const octets = (content: Uint8Array): Buffer => der(0x04, content);
const bits = (content: Uint8Array): Buffer => der(0x03, Buffer.from([0]), content);
const utcTime = (at: Date): Buffer => {
  const [, digits = ''] = /^20(\d{12})/.exec(at.toISOString().replace(/[-:T]/g, '')) ?? [];
  return der(0x17, Buffer.from(`${digits}Z`));
};

const commonName = '550403';
const subjectAlternativeName = '551d11';
const ed25519 = sequence(identifier('2b6570'));

/** Valid for an hour around now, for `localhost` and 127.0.0.1. */
export const selfSigned = (): SelfSigned => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const name = sequence(
    der(0x31, sequence(identifier(commonName), der(0x0c, Buffer.from('cognitora test')))),
  );
  const hourMs = 3_600_000;
  const validity = sequence(utcTime(new Date(Date.now() - hourMs)), utcTime(new Date(Date.now() + hourMs)));
  const names = sequence(der(0x82, Buffer.from('localhost')), der(0x87, Buffer.from([127, 0, 0, 1])));
  const extensions = sequence(sequence(identifier(subjectAlternativeName), octets(names)));
  const version3 = der(0xa0, der(0x02, Buffer.from([2])));
  const serial = der(0x02, Buffer.from([1]), randomBytes(8));
  const key = publicKey.export({ type: 'spki', format: 'der' });
  const signed = sequence(version3, serial, ed25519, name, validity, name, key, der(0xa3, extensions));
  const whole = sequence(signed, ed25519, bits(sign(null, signed, privateKey)));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return {
    certificate: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
};
