import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ProgressEvent } from '../log.ts';
import { Hub, sha256 } from '../testing/hub.ts';
import { endPrograms, startProgram, until } from '../testing/program.ts';
import { type DownloadSettings, download } from './download.ts';
import { parseDigest } from './hub.ts';
import { parseHubName, partsOf, resolveModel, WrongModel } from './resolve.ts';

const content = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 31 + (at >> 8)) & 0xff));
const file = { owner: 'o', repo: 'r', file: 'sub/m.gguf' };

let hub: Hub;
let dir = '';
let logged: ProgressEvent[] = [];

beforeEach(async () => {
  hub = await new Hub(content).start();
  logged = [];
  dir = await mkdtemp(path.join(tmpdir(), 'download-'));
  hub.taken = (bytes) => until(async () => (await partBytes()) >= bytes);
});

afterEach(async () => {
  await endPrograms();
  await hub.stop();
  await rm(dir, { recursive: true, force: true });
});

const partBytes = async (): Promise<number> =>
  (await stat(`${target()}.part`).catch(() => undefined))?.size ?? 0;

const target = (): string => path.join(dir, 'm.gguf');

function fetchIt(changes: Partial<DownloadSettings> = {}): Promise<void> {
  return download({
    file,
    target: target(),
    endpoint: hub.endpoint,
    token: undefined,
    signal: new AbortController().signal,
    log: (event) => logged.push(event),
    pause: () => Promise.resolve(),
    ...changes,
  });
}

async function expectWhole(): Promise<void> {
  expect(hub.bytes.equals(await readFile(target()))).toBe(true);
  expect((await readdir(dir)).toSorted()).toEqual(['m.gguf', 'm.gguf.lock', 'm.gguf.verified']);
}

/** Leaves a part of 120,000 bytes, as an earlier run that was cut off. */
async function leavePart(): Promise<void> {
  hub.cuts = [120_000, 0, 0, 0, 0, 0, 0];
  await expect(fetchIt()).rejects.toThrow(/goes on where it stopped/);
  hub.cuts = [];
  hub.seen = [];
}

describe('a download from the hub', () => {
  it('asks for size and digest, follows the redirect, verifies, and tells its progress', async () => {
    await fetchIt();
    await expectWhole();
    expect(hub.seen.map(({ where, method }) => `${method} ${where}`)).toEqual([
      'HEAD hub',
      'GET hub',
      'GET storage',
    ]);
    expect(logged.at(-1)).toMatchObject({ event: 'download', percent: 100, totalBytes: content.length });
    expect(logged.at(-1)?.message).toMatch(/100 % .* MB\/s/);
  });

  it('gives the token to the hub only, never to where the hub points', async () => {
    await fetchIt({ token: 'secret' });
    expect(hub.seen.map(({ where, token }) => [where, token])).toEqual([
      ['hub', 'Bearer secret'],
      ['hub', 'Bearer secret'],
      ['storage', undefined],
    ]);
    expect(JSON.stringify(logged)).not.toContain('secret');
  });

  it("verifies small files by git's blob name", async () => {
    hub.small = true;
    await fetchIt();
    await expectWhole();
  });

  it('goes on where the connection broke', async () => {
    hub.cuts = [100_000, 50_000];
    await fetchIt();
    await expectWhole();
    expect(hub.ranges).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
  });

  it('goes on after a restart of the program', async () => {
    await leavePart();
    const left = ['m.gguf.lock', 'm.gguf.part', 'm.gguf.part.digest'];
    expect((await readdir(dir)).toSorted()).toEqual(left);
    await fetchIt();
    await expectWhole();
    expect(hub.ranges).toEqual(['bytes=120000-']);
  });

  it('starts afresh when the file changed upstream in between', async () => {
    await leavePart();
    hub.bytes = Buffer.from(content).reverse();
    await fetchIt();
    await expectWhole();
    expect(hub.ranges).toEqual([undefined]);
  });

  it('takes the whole file when the server does not know ranges', async () => {
    hub.cuts = [100_000];
    hub.ignoreRange = true;
    await fetchIt();
    await expectWhole();
  });

  it('keeps nothing of bytes with a wrong digest', async () => {
    hub.digest = 'a'.repeat(64);
    await expect(fetchIt()).rejects.toThrow(/damaged/);
    expect(await readdir(dir)).toEqual(['m.gguf.lock']);
  });

  it.each([
    [401, /HF_TOKEN/],
    [403, /HF_TOKEN/],
    [404, /has no file o\/r\/sub\/m\.gguf/],
    [410, /410/],
  ])('does not try again after a %i', async (status, message) => {
    hub.first = (_request, response) => {
      response.writeHead(status).end();
      return true;
    };
    await expect(fetchIt()).rejects.toThrow(message);
    expect(hub.seen.length).toBe(1);
  });

  it('tries again after a 503, and gives up after a bounded number of attempts', async () => {
    let failures = 2;
    hub.first = (_request, response) => {
      if (failures-- <= 0) return false;
      response.writeHead(503).end();
      return true;
    };
    await fetchIt();
    await expectWhole();
    await rm(target());
    failures = Number.POSITIVE_INFINITY;
    hub.seen = [];
    await expect(fetchIt()).rejects.toThrow(/503/);
    expect(hub.seen.length).toBe(5);
  });

  it('ends an attempt that brings nothing for too long', async () => {
    hub.first = (request, response) => {
      if (request.method === 'HEAD') return false;
      // Headers and a few bytes, then silence.
      response.writeHead(200, { 'content-length': content.length }).write('abc');
      return true;
    };
    await expect(fetchIt({ stallMsMax: 40 })).rejects.toThrow(/too long/);
  });

  it('stops at once when it is told to', async () => {
    const stop = new AbortController();
    stop.abort(new Error('stopping'));
    await expect(fetchIt({ signal: stop.signal })).rejects.toThrow(/stopping/);
  });

  it('refuses what the hub names no digest for', async () => {
    hub.digest = 'not-a-digest';
    await expect(fetchIt()).rejects.toThrow(/can't be verified/);
  });
});

describe('a file that is there', () => {
  /** Its bytes are used, the hub unasked. */
  const isTaken = async (): Promise<boolean> => {
    hub.seen = [];
    await fetchIt({ endpoint: 'http://127.0.0.1:1' });
    return hub.seen.length === 0;
  };
  const warnings = (): string =>
    logged.flatMap(({ event, message }) => (event === 'warning' ? [message] : [])).join();

  it('and was verified is used without asking the hub', async () => {
    await fetchIt();
    expect(await readFile(`${target()}.verified`, 'utf8')).toContain(`${sha256(content)} ${content.length} `);
    expect(await isTaken()).toBe(true);
    expect(warnings()).toBe('');
  });

  it('and was only touched is compared with what was verified, and known again', async () => {
    await fetchIt();
    await utimes(target(), 1000, 1000);
    expect(await isTaken()).toBe(true);
    await expectWhole();
    expect(await readFile(`${target()}.verified`, 'utf8')).toMatch(/ 1000000\n$/);
  });

  it.each([
    ['grew', () => appendFile(target(), 'more')],
    ['was cut', () => writeFile(target(), content.subarray(0, 1000))],
    ['has other bytes', () => writeFile(target(), Buffer.alloc(content.length))],
  ])('and %s since it was verified is downloaded again', async (_, damage) => {
    await fetchIt();
    await damage();
    // Another time, too, where the clock of the file system is coarse.
    await utimes(target(), 1000, 1000);
    await fetchIt();
    await expectWhole();
    expect(warnings()).toMatch(/damaged since: downloading it again/);
  });

  it('stays as it is until another can take its place', async () => {
    await fetchIt();
    await appendFile(target(), 'more');
    const size = (await stat(target())).size;
    hub.digest = 'b'.repeat(64);
    await expect(fetchIt()).rejects.toThrow(/arrived damaged/);
    expect((await stat(target())).size).toBe(size);
  });

  it('without a record is held against the hub: kept when it is right, downloaded when it is not', async () => {
    await writeFile(target(), content);
    await fetchIt();
    await expectWhole();
    expect(hub.seen.map(({ method }) => method)).toEqual(['HEAD']);
    await rm(`${target()}.verified`);
    await writeFile(target(), 'what two programs left of it');
    await fetchIt();
    await expectWhole();
  });

  it('without a record is used, with a warning, when the hub can not be asked', async () => {
    await writeFile(target(), 'mine');
    await fetchIt({ endpoint: 'http://127.0.0.1:1' });
    expect(await readFile(target(), 'utf8')).toBe('mine');
    expect(warnings()).toMatch(/never verified/);
  });
});

describe('several that want one file', () => {
  const gets = (): number => hub.ranges.length;

  it('fresh: one downloads, the other waits for it', async () => {
    await Promise.all([fetchIt(), fetchIt()]);
    await expectWhole();
    expect(gets()).toBe(1);
    expect(logged.filter(({ message }) => message.includes('another process downloads it'))).toHaveLength(1);
  });

  it('resumed: the rest is fetched once, and nothing is written twice', async () => {
    await leavePart();
    await Promise.all([fetchIt(), fetchIt(), fetchIt()]);
    await expectWhole();
    expect(hub.ranges).toEqual(['bytes=120000-']);
  });

  it('a wait ends when it is told to, and leaves the other alone', async () => {
    hub.holdAfter = 1000;
    const [stop, stopOther] = [new AbortController(), new AbortController()];
    const other = fetchIt({ signal: stopOther.signal });
    await until(() => gets() === 1);
    const waiting = fetchIt({ signal: stop.signal });
    await until(() => logged.some(({ message }) => message.includes('another process')));
    stop.abort(new Error('stopping'));
    await expect(waiting).rejects.toThrow();
    await until(async () => (await stat(`${target()}.part`)).size === 1000);
    stopOther.abort(new Error('stopping too'));
    await expect(other).rejects.toThrow(/stopping too/);
    hub.holdAfter = undefined;
    await fetchIt();
    await expectWhole();
    expect(hub.ranges).toEqual([undefined, 'bytes=1000-']);
  });

  it('a process that is killed mid-way: the one that waits goes on where it stopped', async () => {
    hub.holdAfter = 100_000;
    const where = path.join(dir, 'hf/o/r/sub');
    await mkdir(where, { recursive: true });
    const part = path.join(where, 'm.gguf.part');
    const program = startProgram(['--model', 'hf:o/r/sub/m.gguf', '--models-dir', dir], {
      HF_ENDPOINT: hub.endpoint,
    });
    await until(async () => (await stat(part).catch(() => undefined))?.size === 100_000);
    hub.holdAfter = undefined;
    const waiting = fetchIt({ target: path.join(where, 'm.gguf') });
    await until(() => logged.some(({ message }) => message.includes('another process')));
    expect(gets()).toBe(1);
    program.child.kill('SIGKILL');
    await waiting;
    expect(hub.ranges).toEqual([undefined, 'bytes=100000-']);
    expect(hub.bytes.equals(await readFile(path.join(where, 'm.gguf')))).toBe(true);
  });

  it('two that write one part, on a file system without locks, write the same bytes to the same places', async () => {
    await leavePart();
    hub.first = (request, response) => {
      if (request.method === 'HEAD') return false;
      const start = Number(/\d+/.exec(request.headers.range ?? '')?.[0]);
      const last = content.length - 1;
      response.writeHead(206, { 'content-range': `bytes ${start}-${last}/${content.length}` });
      // Meanwhile another one brings more of the same.
      appendFile(`${target()}.part`, content.subarray(start, start + 7000)).then(
        () => response.end(content.subarray(start)),
        () => response.destroy(),
      );
      return true;
    };
    await fetchIt();
    await expectWhole();
  });
});

describe('the digest in an etag', () => {
  it('is a sha256 or a git blob name, whatever quotes it wears', () => {
    expect(parseDigest(`"${'a'.repeat(64)}"`)).toEqual({ kind: 'sha256', hex: 'a'.repeat(64) });
    expect(parseDigest(`W/"${'B'.repeat(40)}"`)).toEqual({ kind: 'git-blob', hex: 'b'.repeat(40) });
    expect(parseDigest('"abc"')).toBeUndefined();
    expect(parseDigest(null)).toBeUndefined();
  });
});

describe('a model name', () => {
  const resolve = (model: string, env: NodeJS.ProcessEnv = {}) =>
    resolveModel({ model, modelsDir: dir, env, signal: new AbortController().signal }, (event) =>
      logged.push(event),
    );

  it('of the hub is downloaded into the models directory and served by its file name', async () => {
    const found = await resolve('hf:o/r/sub/m.gguf', { HF_ENDPOINT: hub.endpoint, HF_TOKEN: 't' });
    expect(found).toEqual({ path: path.join(dir, 'hf/o/r/sub/m.gguf'), name: 'm', toy: false });
    expect(hub.seen[0]?.token).toBe('Bearer t');
  });

  it('of a model in several files stands for all of them', () => {
    const names = partsOf({ ...file, file: 'a/m-00001-of-00003.gguf' }).map((part) => part.file);
    expect(names).toEqual(['a/m-00001-of-00003.gguf', 'a/m-00002-of-00003.gguf', 'a/m-00003-of-00003.gguf']);
    expect(partsOf(file)).toEqual([file]);
  });

  it('"tiny" is the toy, and says so', async () => {
    expect(await resolve('tiny')).toMatchObject({ name: 'tiny', toy: true });
    expect(logged.map((event) => event.message).join(' ')).toMatch(/TOY.*--model hf:/);
  });

  it('that leads nowhere is refused in words that help', async () => {
    await expect(resolve('missing.gguf')).rejects.toThrow(/no file "missing.gguf".*tiny/);
    for (const name of [
      'hf:o/r',
      'hf:o/r/m.bin',
      'hf:o/../r/m.gguf',
      'hf:o/r/../../m.gguf',
      'hf:o/r//m.gguf',
    ]) {
      expect(() => parseHubName(name)).toThrow(WrongModel);
    }
  });
});
