/**
 * The host's Ed25519 identity: made on the host, kept in its data directory with mode 0600, enrolled once per edge with
 * a join token, proved with a signature at each dial. The private key never leaves the host and is never logged.
 */
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toBase64Url } from '@cognitora/protocol/bytes';
import { dialText, enrolmentText, formatDial, nextDialMs, nodeIdOf } from '@cognitora/protocol/identity';
import type { NodeId, Region } from '@cognitora/protocol/ids';
import { enrolPath } from '@cognitora/protocol/link';
import { FieldReader, isRecord, jsonRecordIn, parseJsonRecord } from '@cognitora/protocol/shape';
import { request } from 'undici';
import type { Clock } from './clock.ts';
import { readBounded } from './engines/engine.ts';
import type { Log } from './log.ts';

const keyFile = 'node.key';
const certificatesFile = 'certificates.json';
const lastDialFile = 'last-dial-ms';
/** It stands between dots in a dial. */
const certificatePattern = /^[A-Za-z0-9_-]+$/;
const enrolTimeoutMs = 10_000;
const answerBytesMax = 64 * 1024;

/** Certificates by the origin of the edge that gave them. */
type Certificates = { readonly [origin: string]: string };

/** Refusals that pass by themselves: a slow upload, too early, too often. */
const passingStatuses = [408, 425, 429];

/** The edge said no, in its own words, and would say it again. */
export class EnrolmentRefused extends Error {}

/** The host's key cannot be read: the message says what to do. */
export class KeyUnreadable extends Error {}

export class HostIdentity {
  readonly node: NodeId;
  readonly #directory: string;
  readonly #privateKey: KeyObject;
  readonly #publicKey: string;
  readonly #clock: Clock;
  readonly #log: Log;
  #isWarned = false;
  #lastDialMs: number;

  /** Reads the host's key, or makes it. Throws `KeyUnreadable`. */
  constructor(directory: string, clock: Clock, log: Log) {
    this.#directory = directory;
    this.#clock = clock;
    this.#log = log;
    this.#privateKey = loadOrCreateKey(directory);
    this.#lastDialMs = lastDialMsIn(join(directory, lastDialFile));
    const { x } = this.#privateKey.export({ format: 'jwk' });
    this.#publicKey = x ?? '';
    const raw = Buffer.from(this.#publicKey, 'base64url');
    this.node = nodeIdOf(createHash('sha256').update(raw).digest());
  }

  isEnrolledAt(edge: URL): boolean {
    return this.#certificates()[edge.origin] !== undefined;
  }

  /** Origins of the edges that it has joined. */
  get joined(): readonly string[] {
    return Object.keys(this.#certificates());
  }

  /** Spends one use of a join token. Throws `EnrolmentRefused` with the edge's words where a retry is vain. */
  async enrol(edge: URL, joinToken: string, name: string): Promise<void> {
    const signature = this.#sign(enrolmentText(edge.origin, this.#publicKey));
    const { statusCode, body } = await request(new URL(enrolPath, edge), {
      method: 'POST',
      headers: { authorization: `Bearer ${joinToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ publicKey: this.#publicKey, name, signature }),
      headersTimeout: enrolTimeoutMs,
      bodyTimeout: enrolTimeoutMs,
    });
    const answer = parseJsonRecord(
      await readBounded(body, answerBytesMax),
      'protocol_error',
      "The edge's answer",
    );
    if (statusCode !== 200) {
      const message = isRecord(answer.error) ? String(answer.error.message) : `status ${statusCode}`;
      const isFinal = statusCode >= 400 && statusCode < 500 && !passingStatuses.includes(statusCode);
      throw isFinal ? new EnrolmentRefused(message) : new Error(message);
    }
    const reader = new FieldReader(answer, 'protocol_error', "The edge's answer");
    const certificate = reader.string('certificate', 256);
    if (!certificatePattern.test(certificate)) reader.fail('certificate', 'base64url');
    this.#write(certificatesFile, JSON.stringify({ ...this.#certificates(), [edge.origin]: certificate }));
  }

  /** The edge no longer knows this host: the next start enrols anew. */
  forget(edge: URL): void {
    const { [edge.origin]: _forgotten, ...others } = this.#certificates();
    this.#write(certificatesFile, JSON.stringify(others));
  }

  /** The `Authorization` of a dial made now. No two carry the same time, those of earlier lives included. */
  dialHeader(edge: URL, region: Region | ''): string {
    this.#lastDialMs = nextDialMs(this.#lastDialMs, this.#clock.wallMs());
    this.#keepLastDial();
    const nonce = toBase64Url(randomBytes(18));
    const dial = { node: this.node, timeMs: this.#lastDialMs, nonce };
    return formatDial({
      ...dial,
      publicKey: this.#publicKey,
      certificate: this.#certificates()[edge.origin] ?? '',
      signature: this.#sign(dialText(edge.origin, region, dial)),
    });
  }

  #sign(text: Uint8Array): string {
    return toBase64Url(sign(null, text, this.#privateKey));
  }

  #certificates(): Certificates {
    const path = join(this.#directory, certificatesFile);
    const { whole, isDamaged } = certificatesIn(path);
    if (isDamaged && !this.#isWarned) {
      this.#isWarned = true;
      this.#log('warn', 'certificates that cannot be read count as none: this host joins anew', { path });
    }
    return whole;
  }

  /** A host whose disk takes nothing can still dial, as long as its clock is not set back between two lives. */
  #keepLastDial(): void {
    try {
      this.#write(lastDialFile, String(this.#lastDialMs));
    } catch (thrown) {
      this.#log('warn', 'the time of the last dial cannot be kept', { why: String(thrown) });
    }
  }

  #write(file: string, text: string): void {
    writePrivately(join(this.#directory, file), text);
  }
}

/** What is missing or cannot be read counts as never. */
const lastDialMsIn = (path: string): number => {
  try {
    const lastMs = Number(readFileSync(path, 'utf8'));
    return Number.isSafeInteger(lastMs) ? lastMs : 0;
  } catch {
    return 0;
  }
};

const certificatesIn = (path: string): { readonly whole: Certificates; readonly isDamaged: boolean } => {
  if (!existsSync(path)) return { whole: {}, isDamaged: false };
  const record = Object.entries(jsonRecordIn(readFileSync(path, 'utf8')) ?? { broken: undefined });
  const isWhole = ([, value]: [string, unknown]): boolean =>
    typeof value === 'string' && certificatePattern.test(value);
  const whole = Object.fromEntries(record.filter(isWhole)) as Certificates;
  return { whole, isDamaged: !record.every(isWhole) };
};

/** For who only looks: whether the host that has its key there is enrolled. Makes none, and throws as `fs` does. */
export const isEnrolledIn = (directory: string, edge: URL): boolean =>
  existsSync(join(directory, keyFile)) &&
  certificatesIn(join(directory, certificatesFile)).whole[edge.origin] !== undefined;

const writePrivately = (path: string, text: string): void => {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text, { mode: 0o600 });
  renameSync(temporary, path);
};

const readKey = (path: string): KeyObject => {
  const pem = readFileSync(path);
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // Told below; what the library says of it helps nobody.
  }
  throw new KeyUnreadable(
    `${path} holds no Ed25519 private key. Put this host's key back from a backup, or remove the file: ` +
      'the agent then makes a new identity, which has to join with a join token.',
  );
};

const loadOrCreateKey = (directory: string): KeyObject => {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, keyFile);
  if (existsSync(path)) {
    chmodSync(path, 0o600);
    return readKey(path);
  }
  const { privateKey } = generateKeyPairSync('ed25519');
  writePrivately(path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  return privateKey;
};
