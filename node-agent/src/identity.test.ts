import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dialText, enrolmentText, parseDial } from '@cognitora/protocol/identity';
import type { Region } from '@cognitora/protocol/ids';
import { dialSkewMsMax } from '@cognitora/protocol/limits';
import { expect, onTestFinished, test, vi } from 'vitest';
import { answerJson, bodyOf, serveHttp } from '../testing/http-engine.ts';
import { EnrolmentRefused, HostIdentity, isEnrolledIn, KeyUnreadable } from './identity.ts';
import type { Log } from './log.ts';

const edge = new URL('https://edge.example/');

const newDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return join(directory, 'agent');
};

const clockAt = (time: { nowMs: number }) => ({ wallMs: () => time.nowMs, monotonicMs: () => 0 });
const identityIn = (directory: string, time = { nowMs: 1000 }, log: Log = () => {}) =>
  new HostIdentity(directory, clockAt(time), log);

const modeOf = (path: string): number => statSync(path).mode & 0o777;

const isSigned = (publicKey: string, text: Uint8Array, signature: string): boolean => {
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' });
  return verify(null, text, key, Buffer.from(signature, 'base64url'));
};

test('a host’s key is made once, private to its owner, and the host stays the same node', () => {
  const directory = newDirectory();
  const first = identityIn(directory);
  expect(first.node).toMatch(/^n[a-z2-7]{26}$/);
  expect(modeOf(join(directory, 'node.key'))).toBe(0o600);
  expect(modeOf(directory)).toBe(0o700);
  expect(readdirSync(directory)).toEqual(['node.key']);
  chmodSync(join(directory, 'node.key'), 0o644);
  expect(identityIn(directory).node).toBe(first.node);
  expect(modeOf(join(directory, 'node.key'))).toBe(0o600);
  expect(identityIn(newDirectory()).node).not.toBe(first.node);
});

test('before it is enrolled a host has no dial that an edge would read', () => {
  expect(parseDial(identityIn(newDirectory()).dialHeader(edge, ''))).toBeUndefined();
});

/** An edge that enrols whoever asks, and what it was asked. */
const enrolling = async (answer: unknown = { certificate: 'Y2VydA' }, status = 200) => {
  const asked: { path: string; authorization: string; body: Record<string, string> }[] = [];
  const url = await serveHttp(async (request, response) => {
    const { authorization = '' } = request.headers;
    asked.push({ path: request.url ?? '', authorization, body: JSON.parse(await bodyOf(request)) });
    answerJson(response, answer, status);
  });
  return { url, asked };
};

test('enrolment proves the key, spends the token, and is remembered per edge across restarts', async () => {
  const { url, asked } = await enrolling();
  const directory = newDirectory();
  const identity = identityIn(directory, { nowMs: 42_000 });
  expect(identity.isEnrolledAt(url)).toBe(false);
  await identity.enrol(url, 'cgj_token', 'host');
  const [request] = asked;
  expect(request).toMatchObject({
    path: '/link/v1/enrol',
    authorization: 'Bearer cgj_token',
    body: { name: 'host' },
  });
  const { publicKey = '', signature = '' } = request?.body ?? {};
  expect(isSigned(publicKey, enrolmentText(url.origin, publicKey), signature)).toBe(true);
  expect(modeOf(join(directory, 'certificates.json'))).toBe(0o600);
  const restarted = identityIn(directory, { nowMs: 42_000 });
  expect(restarted.isEnrolledAt(url)).toBe(true);
  expect(restarted.isEnrolledAt(edge)).toBe(false);
  expect(restarted.joined).toEqual([url.origin]);
  expect([isEnrolledIn(directory, url), isEnrolledIn(directory, edge)]).toEqual([true, false]);
  rmSync(join(directory, 'node.key'));
  expect(isEnrolledIn(directory, url)).toBe(false);
  const dial = parseDial(restarted.dialHeader(url, 'weur' as Region));
  expect(dial).toMatchObject({ node: identity.node, publicKey, certificate: 'Y2VydA', timeMs: 42_000 });
  if (dial === undefined) return;
  expect(isSigned(publicKey, dialText(url.origin, 'weur' as Region, dial), dial.signature)).toBe(true);
  expect(isSigned(publicKey, dialText(url.origin, 'enam' as Region, dial), dial.signature)).toBe(false);
  restarted.forget(url);
  expect(identityIn(directory).isEnrolledAt(url)).toBe(false);
});

test('two dials never carry the same time, nor an earlier one, whatever the clock does', async () => {
  const { url } = await enrolling();
  const time = { nowMs: 1000 };
  const identity = identityIn(newDirectory(), time);
  await identity.enrol(url, 't', 'host');
  const nonces = new Set<string>();
  const times = [1000, 1000, 1000, 400, 5000, 4999].map((nowMs) => {
    time.nowMs = nowMs;
    const dial = parseDial(identity.dialHeader(url, ''));
    nonces.add(dial?.nonce ?? '');
    return dial?.timeMs;
  });
  expect(times).toEqual([1000, 1001, 1002, 1003, 5000, 5001]);
  expect(nonces.size).toBe(6);
});

test('a host whose clock was set back between two lives dials behind its last dial, if an edge took that', async () => {
  const { url } = await enrolling();
  const directory = newDirectory();
  await identityIn(directory).enrol(url, 't', 'host');
  const dialledAt = (nowMs: number) =>
    parseDial(identityIn(directory, { nowMs }).dialHeader(url, ''))?.timeMs;
  expect(dialledAt(500_000)).toBe(500_000);
  expect(dialledAt(500_000 - dialSkewMsMax)).toBe(500_001);
  expect(dialledAt(500_000 - dialSkewMsMax)).toBe(500_000 - dialSkewMsMax);
  writeFileSync(join(directory, 'last-dial-ms'), 'half a number');
  expect(dialledAt(7)).toBe(7);
});

test('a host that cannot keep the time of its dial dials all the same, and says so', async () => {
  const { url } = await enrolling();
  const directory = newDirectory();
  const told: string[] = [];
  const identity = identityIn(directory, { nowMs: 1000 }, (_level, event) => told.push(event));
  await identity.enrol(url, 't', 'host');
  mkdirSync(join(directory, 'last-dial-ms'));
  expect(parseDial(identity.dialHeader(url, ''))?.timeMs).toBe(1000);
  expect(told).toEqual(['the time of the last dial cannot be kept']);
});

test('the edge’s refusal comes in its own words, and nothing is remembered', async () => {
  const { url } = await enrolling({ error: { message: 'The join token is used up.' } }, 401);
  const directory = newDirectory();
  const identity = identityIn(directory);
  const enrolment = identity.enrol(url, 't', 'host');
  await expect(enrolment).rejects.toThrow(EnrolmentRefused);
  await expect(enrolment).rejects.toThrow('The join token is used up.');
  expect(identity.isEnrolledAt(url)).toBe(false);
});

test.each([408, 425, 429, 500, 503])('a status of %d passes: it is no refusal', async (status) => {
  const { url } = await enrolling({ error: { message: 'Not now.' } }, status);
  const enrolment = identityIn(newDirectory()).enrol(url, 't', 'host');
  await expect(enrolment).rejects.toThrow('Not now.');
  await expect(enrolment).rejects.not.toBeInstanceOf(EnrolmentRefused);
});

test.each([400, 401, 403, 409, 426])('a status of %d stays: it is a refusal', async (status) => {
  const { url } = await enrolling({ error: { message: 'No.' } }, status);
  await expect(identityIn(newDirectory()).enrol(url, 't', 'host')).rejects.toBeInstanceOf(EnrolmentRefused);
});

test('an answer without a certificate is no enrolment', async () => {
  const { url } = await enrolling({ node: 'x' });
  const identity = identityIn(newDirectory());
  await expect(identity.enrol(url, 't', 'host')).rejects.toMatchObject({ code: 'protocol_error' });
  expect(identity.isEnrolledAt(url)).toBe(false);
});

test.each(['a.b', 'a b', 'a=', 'é', 'a\n'])(
  'the certificate %j, which no dial holds, is none',
  async (bad) => {
    const { url } = await enrolling({ certificate: bad });
    const identity = identityIn(newDirectory());
    const enrolment = identity.enrol(url, 't', 'host');
    await expect(enrolment).rejects.toThrow("The edge's answer: certificate must be base64url.");
    await expect(enrolment).rejects.not.toBeInstanceOf(EnrolmentRefused);
    expect(identity.isEnrolledAt(url)).toBe(false);
  },
);

test.each([
  '',
  '[]',
  '{"https://edge.exam',
  'null',
  '{"https://edge.example":7}',
  '{"https://edge.example":"a.b"}',
])(
  'certificates that read %j count as none, with one warning, until the host joins anew',
  async (content) => {
    const { url } = await enrolling();
    const directory = newDirectory();
    mkdirSync(directory);
    const path = join(directory, 'certificates.json');
    writeFileSync(path, content);
    const log = vi.fn();
    const identity = identityIn(directory, { nowMs: 1 }, log);
    expect(identity.isEnrolledAt(edge)).toBe(false);
    expect(identity.isEnrolledAt(edge)).toBe(false);
    expect(log.mock.calls).toEqual([['warn', expect.stringContaining('joins anew'), { path }]]);
    await identity.enrol(url, 't', 'host');
    const again = vi.fn();
    expect(identityIn(directory, { nowMs: 1 }, again).isEnrolledAt(url)).toBe(true);
    expect(again).not.toHaveBeenCalled();
  },
);

test('a key that cannot be read is told of in words, and stays as it is', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  for (const content of ['', 'x', rsa.export({ type: 'pkcs8', format: 'pem' }).toString()]) {
    const directory = newDirectory();
    mkdirSync(directory);
    const path = join(directory, 'node.key');
    writeFileSync(path, content);
    expect(() => identityIn(directory)).toThrow(KeyUnreadable);
    expect(() => identityIn(directory)).toThrow(`${path} holds no Ed25519 private key.`);
    expect(readFileSync(path, 'utf8')).toBe(content);
  }
});

test('the private key stays in its file', async () => {
  const { url, asked } = await enrolling();
  const directory = newDirectory();
  const identity = identityIn(directory);
  await identity.enrol(url, 't', 'host');
  const pem = readFileSync(join(directory, 'node.key'), 'utf8');
  const secret = pem.split('\n')[1]?.slice(-43) ?? '';
  expect(pem).toContain('PRIVATE KEY');
  expect(JSON.stringify(asked) + identity.dialHeader(url, '') + JSON.stringify(identity)).not.toContain(
    secret,
  );
});
