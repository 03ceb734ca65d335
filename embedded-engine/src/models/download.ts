/**
 * Downloads one file of the hub: resumable, verified, and either wholly there or not at all. Of the processes that want
 * the same file one downloads (FILE.lock) and the others wait for what it brings.
 *
 *   HEAD                what the file is: size and digest, as the hub names them
 *   FILE.part           the bytes so far            FILE.part.digest    what they are meant to become
 *   GET with Range      the rest, in bounded attempts with growing pauses
 *   verify, rename      only bytes with the named digest become FILE      FILE.verified    which one that was
 *
 * A verified file is used without asking the hub. Bytes are written where they belong, never appended to whatever is
 * there: a writer that came too late, by a lock that some file system does not keep, could only repeat what is there.
 */
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../clock.ts';
import * as limits from '../limits.ts';
import { type Log, messageOf } from '../log.ts';
import { exclusively } from './exclusive.ts';
import { fileUrl, type HubFile, parseDigest, request } from './hub.ts';
import { digestOf, type Expected, hasBytes, isAsVerified, readVerified, recordVerified } from './verified.ts';

export type { HubFile } from './hub.ts';

export interface DownloadSettings {
  readonly file: HubFile;
  readonly target: string;
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly signal: AbortSignal;
  readonly log: Log;
  readonly clock?: Clock;
  /** Waits between attempts; tests make it short. */
  readonly pause?: (ms: number) => Promise<void>;
  readonly stallMsMax?: number;
}

/** A failure that another attempt would only repeat. */
export class DownloadError extends Error {}

interface Download extends DownloadSettings {
  readonly url: URL;
  readonly part: string;
  readonly digestFile: string;
}

/** Resolves once the file is there. */
export async function download(settings: DownloadSettings): Promise<void> {
  if (await isAsVerified(settings.target)) return;
  const work: Download = {
    ...settings,
    url: fileUrl(settings.endpoint, settings.file),
    part: `${settings.target}.part`,
    digestFile: `${settings.target}.part.digest`,
  };
  await mkdir(path.dirname(work.target), { recursive: true });
  const { signal, file, log } = work;
  const onWait = (): void => {
    log({ event: 'download', message: `${file.file}: another process downloads it; waiting` });
  };
  await exclusively({ path: `${work.target}.lock`, signal, onWait }, async () => {
    // Whoever held the lock before may have brought it.
    if (!(await isUsable(work))) await fetchWhole(work);
  });
}

async function fetchWhole(work: Download): Promise<void> {
  const expected = await persist(work, () => describe(work));
  await keepOnlyMatchingPart(work, expected);
  await persist(work, async () => {
    if (((await sizeOf(work.part)) ?? 0) !== expected.sizeBytes) await fetchRest(work, expected);
  });
  await verify(work, expected);
  await rename(work.part, work.target);
  await recordVerified(work.target, expected);
  await rm(work.digestFile, { force: true });
}

/** Whether what is there may be used. A file that was damaged stays until a good one takes its place. */
async function isUsable(work: Download): Promise<boolean> {
  const { target, file } = work;
  if (await isAsVerified(target)) return true;
  if ((await sizeOf(target)) === undefined) return false;
  const warn = (message: string): void => work.log({ event: 'warning', message: `${file.file} ${message}` });
  let expected: Expected | undefined = await readVerified(target);
  try {
    expected ??= await describe(work);
  } catch (error) {
    if (work.signal.aborted) throw error;
    warn(`was never verified, and the hub can't be asked (${describeError(error)}): used as it is`);
    return true;
  }
  if (await hasBytes(target, expected)) {
    await recordVerified(target, expected);
    return true;
  }
  warn('is not the file that the hub names, or was damaged since: downloading it again');
  return false;
}

async function sizeOf(file: string): Promise<number | undefined> {
  return (await stat(file).catch(() => undefined))?.size;
}

/**
 * Repeats `attempt` while it may help. Attempts that brought new bytes count only against the larger limit.
 */
async function persist<T>(work: Download, attempt: () => Promise<T>): Promise<T> {
  const pause = work.pause ?? ((ms: number) => sleep(ms, undefined, { signal: work.signal }));
  let fruitless = 0;
  for (let total = 1; ; total++) {
    const before = (await sizeOf(work.part)) ?? 0;
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof DownloadError || work.signal.aborted || isOfThisDisk(error)) throw error;
      const after = (await sizeOf(work.part)) ?? 0;
      fruitless = after > before ? 1 : fruitless + 1;
      if (fruitless >= limits.downloadAttemptsMax || total >= limits.downloadAttemptsTotalMax) {
        throw new DownloadError(
          `Downloading ${work.url.href} failed ${total} times, last with: ${describeError(error)}. ` +
            'Check the network (HF_ENDPOINT names another hub) and start again: it goes on where it stopped.',
        );
      }
      const waitMs = Math.min(
        limits.downloadBackoffMsMax,
        limits.downloadBackoffMsMin * 2 ** (fruitless - 1),
      );
      work.log({ event: 'warning', message: `download: ${describeError(error)}; trying again`, waitMs });
      await pause(waitMs);
    }
  }
}

/** The network's errors carry their system call one level deeper. */
function isOfThisDisk(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

/** `fetch failed` alone says nothing: its cause does. */
function describeError(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? ` (${messageOf(error.cause)})` : '';
  return messageOf(error) + cause;
}

function checkStatus(work: Download, status: number): void {
  if (status >= 200 && status < 400) return;
  const name = `${work.file.owner}/${work.file.repo}/${work.file.file}`;
  if (status === 401 || status === 403) {
    const hint =
      work.token === undefined ? 'set HF_TOKEN to a token that may read it' : 'HF_TOKEN may not read it';
    throw new DownloadError(`The hub refuses access to ${name} (${status}): ${hint}.`);
  }
  if (status === 404)
    throw new DownloadError(`The hub has no file ${name}. Check owner, repository and file name.`);
  // A 416 is handled where ranges are asked for; the rest of 4xx would be the same again, but for these two.
  if (status < 500 && status !== 408 && status !== 429) {
    throw new DownloadError(`The hub answered ${status} for ${name}.`);
  }
  throw new Error(`the hub answered ${status}`);
}

/** Asks the hub what the file is. The hub's redirect to its storage already carries size and digest. */
async function describe(work: Download): Promise<Expected> {
  const response = await request(
    {
      url: work.url,
      method: 'HEAD',
      token: work.token,
      headers: {},
      signal: AbortSignal.any([
        work.signal,
        AbortSignal.timeout(work.stallMsMax ?? limits.downloadStallMsMax),
      ]),
    },
    (hop) => hop.headers.has('x-linked-etag'),
  );
  checkStatus(work, response.status);
  const digest = parseDigest(response.headers.get('x-linked-etag') ?? response.headers.get('etag'));
  const size = Number(
    response.headers.get('x-linked-size') ?? response.headers.get('content-length') ?? Number.NaN,
  );
  if (digest === undefined || !Number.isSafeInteger(size) || size <= 0) {
    throw new DownloadError(`The hub names no size and digest for ${work.url.href}: it can't be verified.`);
  }
  return { digest, sizeBytes: size };
}

/** A part that was begun for other bytes is of no use: the file changed upstream. */
async function keepOnlyMatchingPart(work: Download, expected: Expected): Promise<void> {
  const meant = `${expected.digest.kind}:${expected.digest.hex} ${expected.sizeBytes}\n`;
  const recorded = await readFile(work.digestFile, 'utf8').catch(() => undefined);
  const tooLong = ((await sizeOf(work.part)) ?? 0) > expected.sizeBytes;
  if (recorded !== meant || tooLong) await rm(work.part, { force: true });
  await writeFile(work.digestFile, meant);
}

async function fetchRest(work: Download, expected: Expected): Promise<void> {
  const have = (await sizeOf(work.part)) ?? 0;
  const stalled = new AbortController();
  const response = await request(
    {
      url: work.url,
      method: 'GET',
      token: work.token,
      headers: have > 0 ? { range: `bytes=${have}-` } : {},
      signal: AbortSignal.any([work.signal, stalled.signal]),
    },
    () => false,
  );
  if (response.status === 416) {
    await rm(work.part, { force: true });
    throw new Error('the hub does not accept the range of the part; starting afresh');
  }
  checkStatus(work, response.status);
  const continues =
    response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${have}-`);
  if (response.status === 206 && !continues) throw new Error('the hub sent another range than asked for');
  if (!response.body) throw new Error('the hub sent no body');
  await writeBody(work, expected, response.body, { have: continues ? have : 0, stalled });
  if ((await sizeOf(work.part)) !== expected.sizeBytes) throw new Error('the connection ended early');
}

/** Writes the body behind what the part has, or into a new part when the hub sent the whole file again. */
async function writeBody(
  work: Download,
  expected: Expected,
  body: ReadableStream<Uint8Array>,
  state: { have: number; stalled: AbortController },
): Promise<void> {
  const stallMsMax = work.stallMsMax ?? limits.downloadStallMsMax;
  const progress = createProgress(work, expected, state.have);
  if (state.have === 0) await rm(work.part, { force: true });
  const file = await open(work.part, state.have > 0 ? 'r+' : 'wx');
  // Waits for the watchdog below, so that a stalled server can't hold the loop.
  const watch = setTimeout(() => state.stalled.abort(new Error('no bytes for too long')), stallMsMax);
  let bytes = state.have;
  try {
    for await (const chunk of body) {
      watch.refresh();
      if (bytes + chunk.length > expected.sizeBytes)
        throw new Error('the hub sent more bytes than it announced');
      await writeAt(file, chunk, bytes);
      bytes += chunk.length;
      progress(bytes);
    }
  } finally {
    clearTimeout(watch);
    // Bytes that arrived are kept even when the connection broke.
    await file.close();
  }
}

async function writeAt(file: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    done += (await file.write(chunk, done, chunk.length - done, position + done)).bytesWritten;
  }
}

function createProgress(work: Download, expected: Expected, startBytes: number): (bytes: number) => void {
  const clock = work.clock ?? systemClock;
  const started = clock.monotonicMs();
  let last = Number.NEGATIVE_INFINITY;
  return (bytes) => {
    const now = clock.monotonicMs();
    const done = bytes === expected.sizeBytes;
    if (now - last < limits.progressIntervalMs && !done) return;
    last = now;
    const percent = Math.floor((100 * bytes) / expected.sizeBytes);
    const total = `${(expected.sizeBytes / 1e6).toFixed(1)} MB`;
    const megabytesPerSecond = (bytes - startBytes) / 1e6 / Math.max(0.001, (now - started) / 1000);
    work.log({
      event: 'download',
      message: `${work.file.file}: ${percent} % of ${total}, ${megabytesPerSecond.toFixed(1)} MB/s`,
      bytes,
      totalBytes: expected.sizeBytes,
      percent,
      megabytesPerSecond: Number(megabytesPerSecond.toFixed(3)),
    });
  };
}

/** Also makes sure that the bytes outlive a power cut that comes after the rename. */
async function verify(work: Download, expected: Expected): Promise<void> {
  const part = await open(work.part, 'r+');
  await part.sync().finally(() => part.close());
  const actual = await digestOf(work.part, expected);
  if (actual === expected.digest.hex) return;
  await rm(work.part, { force: true });
  await rm(work.digestFile, { force: true });
  throw new DownloadError(
    `${work.file.file} arrived damaged: its digest is ${actual}, the hub names ${expected.digest.hex}. ` +
      'Nothing was kept; start again.',
  );
}
