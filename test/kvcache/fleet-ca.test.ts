import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeIdOf } from '@cognitora/protocol/identity';
import { expect, onTestFinished, test } from 'vitest';
import { fleetCaOf, nodeCertificateMs } from '../../edge/src/kv/fleet-ca.ts';
import { shakeHands } from './handshake.ts';

const secret = 'a secret of the fleet, long enough';
const dayMs = 24 * 3_600_000;

const newNode = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  const node = nodeIdOf(createHash('sha256').update(raw).digest());
  return {
    node,
    raw: new Uint8Array(raw),
    publicKey,
    key: privateKey,
  };
};

const issued = async (nowMs = Date.now(), fleetSecret = secret) => {
  const ca = await fleetCaOf(fleetSecret);
  const node = newNode();
  return { ...node, ca: ca.certificate, certificate: await ca.issue(node.node, node.raw, nowMs) };
};

test('the CA of a secret is always the same, and that of another secret is another', async () => {
  const [first, again, other] = await Promise.all([secret, secret, `${secret}!`].map(fleetCaOf));
  expect(again?.certificate).toBe(first?.certificate);
  expect(other?.certificate).not.toBe(first?.certificate);
  const read = new X509Certificate(first?.certificate ?? '');
  expect([read.ca, read.subject, read.issuer]).toEqual([true, 'CN=cognitora fleet', 'CN=cognitora fleet']);
  expect(read.verify(read.publicKey)).toBe(true);
  expect(read.publicKey.asymmetricKeyType).toBe('ed25519');
});

test('a node’s certificate is over its own key, names it, and is the CA’s', async () => {
  const nowMs = Date.UTC(2027, 4, 6, 7, 8, 9);
  const { node, publicKey, ca, certificate } = await issued(nowMs);
  const read = new X509Certificate(certificate);
  const authority = new X509Certificate(ca);
  expect([read.ca, read.subject, read.issuer]).toEqual([false, `CN=${node}`, 'CN=cognitora fleet']);
  expect(read.subjectAltName).toBe(`DNS:${node}`);
  expect(read.publicKey.equals(createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })))).toBe(
    true,
  );
  expect(read.verify(authority.publicKey)).toBe(true);
  expect(read.checkIssued(authority)).toBe(true);
  expect(read.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  expect(read.validToDate.getTime()).toBe(nowMs + nodeCertificateMs);
  expect(read.validFromDate.getTime()).toBeLessThan(nowMs - dayMs / 25);
  const another = await issued(nowMs, `${secret}!`);
  expect(read.verify(new X509Certificate(another.ca).publicKey)).toBe(false);
});

test('serial numbers differ and are positive', async () => {
  const ca = await fleetCaOf(secret);
  const { node, raw } = newNode();
  const certificates = await Promise.all(
    Array.from({ length: 2_000 }, () => ca.issue(node, raw, Date.now())),
  );
  const serials = certificates.map((certificate) => new X509Certificate(certificate).serialNumber);
  expect(new Set(serials).size).toBe(2_000);
  expect(serials.filter((serial) => serial.startsWith('-'))).toEqual([]);
});

test('OpenSSL finds nothing wrong with either, in its strict mode', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cognitora-ca-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { node, ca, certificate } = await issued();
  writeFileSync(join(folder, 'ca.pem'), ca);
  writeFileSync(join(folder, 'node.pem'), certificate);
  const verify = (...more: string[]): string =>
    execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', 'ca.pem', ...more, 'node.pem'], {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  expect(verify('-purpose', 'sslserver', '-verify_hostname', node)).toBe('node.pem: OK\n');
  expect(verify('-purpose', 'sslclient')).toBe('node.pem: OK\n');
  expect(() => verify('-verify_hostname', 'nother')).toThrow('hostname mismatch');
});

test('two nodes of a fleet know each other by TLS', async () => {
  const [server, client] = [await issued(), await issued()];
  expect(await shakeHands({ server, client })).toEqual([server.node, client.node]);
});

test('a node is refused that is another than was dialled, of another fleet, or expired', async () => {
  const [server, client] = [await issued(), await issued()];
  expect(await shakeHands({ server, client, servername: client.node })).toContain(
    'ERR_TLS_CERT_ALTNAME_INVALID',
  );
  const strange = await issued(Date.now(), `${secret}!`);
  expect(await shakeHands({ server: strange, client })).toContain('SELF_SIGNED_CERT_IN_CHAIN');
  const expired = await issued(Date.now() - nodeCertificateMs - 1_000);
  expect(await shakeHands({ server: expired, client })).toContain('CERT_HAS_EXPIRED');
});
