import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ProgressEvent } from '../log.ts';
import { type DownloadSettings, download } from './download.ts';
import { parseDigest } from './hub.ts';
import { parseHubName, partsOf, resolveModel, WrongModel } from './resolve.ts';

const content = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 31 + (at >> 8)) & 0xff));
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const file = { owner: 'o', repo: 'r', file: 'sub/m.gguf' };

/** A hub on a port, a storage server on another, and what they were asked. */
interface Hub {
  bytes: Buffer;
  /** What the hub says the digest is; `undefined`: the truth. */
  digest: string | undefined;
  /** Bytes after which the storage cuts the connection, one entry per GET; empty: it never does. */
  cuts: number[];
  /** Answers before everything else when it returns true. */
  first: (request: IncomingMessage, response: ServerResponse) => boolean;
  small: boolean;
  ignoreRange: boolean;
}

let hub: Hub;
let servers: Server[] = [];
let seen: { where: string; method: string; range: string | undefined; token: string | undefined }[] = [];
let dir = '';
let endpoint = '';
let logged: ProgressEvent[] = [];

function note(where: string, request: IncomingMessage): void {
  const { authorization: token, range } = request.headers;
  seen.push({ where, method: request.method ?? '', range, token });
}

function serveBytes(request: IncomingMessage, response: ServerResponse): void {
  const start = hub.ignoreRange ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const body = hub.bytes.subarray(start);
  const last = hub.bytes.length - 1;
  const ranged = start > 0 ? { 'content-range': `bytes ${start}-${last}/${hub.bytes.length}` } : {};
  response.writeHead(start > 0 ? 206 : 200, { 'content-length': body.length, ...ranged });
  const cut = hub.cuts.shift();
  if (cut === undefined || cut >= body.length) {
    response.end(request.method === 'HEAD' ? undefined : body);
    return;
  }
  // The client has read what was sent before the connection goes: otherwise a reset may discard it.
  response.write(body.subarray(0, cut), () => setTimeout(() => request.socket.destroy(), 30));
}

async function listen(
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(handler);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeEach(async () => {
  hub = { bytes: content, digest: undefined, cuts: [], first: () => false, small: false, ignoreRange: false };
  seen = [];
  logged = [];
  dir = await mkdtemp(path.join(tmpdir(), 'download-'));
  const storage = await listen((request, response) => {
    note('storage', request);
    serveBytes(request, response);
  });
  endpoint = await listen((request, response) => {
    note('hub', request);
    if (hub.first(request, response)) return;
    if (hub.small) {
      const blob = createHash('sha1').update(`blob ${hub.bytes.length}\0`).update(hub.bytes).digest('hex');
      response.setHeader('etag', `"${blob}"`);
      serveBytes(request, response);
      return;
    }
    response.writeHead(302, {
      location: `${storage}/bytes?signed=1`,
      'x-linked-etag': `"${hub.digest ?? sha256(hub.bytes)}"`,
      'x-linked-size': hub.bytes.length,
    });
    response.end();
  });
});

afterEach(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  servers = [];
  await rm(dir, { recursive: true, force: true });
});

const target = (): string => path.join(dir, 'm.gguf');

function fetchIt(changes: Partial<DownloadSettings> = {}): Promise<void> {
  return download({
    file,
    target: target(),
    endpoint,
    token: undefined,
    signal: new AbortController().signal,
    log: (event) => logged.push(event),
    pause: () => Promise.resolve(),
    ...changes,
  });
}

async function expectWhole(): Promise<void> {
  expect(hub.bytes.equals(await readFile(target()))).toBe(true);
  expect(await readdir(dir)).toEqual(['m.gguf']);
}

describe('a download from the hub', () => {
  it('asks for size and digest, follows the redirect, verifies, and tells its progress', async () => {
    await fetchIt();
    await expectWhole();
    expect(seen.map(({ where, method }) => `${method} ${where}`)).toEqual([
      'HEAD hub',
      'GET hub',
      'GET storage',
    ]);
    expect(logged.at(-1)).toMatchObject({ event: 'download', percent: 100, totalBytes: content.length });
    expect(logged.at(-1)?.message).toMatch(/100 % .* MB\/s/);
  });

  it('gives the token to the hub only, never to where the hub points', async () => {
    await fetchIt({ token: 'secret' });
    expect(seen.map(({ where, token }) => [where, token])).toEqual([
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
    expect(seen.filter(({ where }) => where === 'storage').map(({ range }) => range)).toEqual([
      undefined,
      'bytes=100000-',
      'bytes=150000-',
    ]);
  });

  it('goes on after a restart of the program', async () => {
    hub.cuts = [120_000, 0, 0, 0, 0, 0, 0];
    await expect(fetchIt()).rejects.toThrow(/goes on where it stopped/);
    expect((await readdir(dir)).toSorted()).toEqual(['m.gguf.part', 'm.gguf.part.digest']);
    hub.cuts = [];
    seen = [];
    await fetchIt();
    await expectWhole();
    expect(seen.at(-1)?.range).toBe('bytes=120000-');
  });

  it('starts afresh when the file changed upstream in between', async () => {
    hub.cuts = [120_000, 0, 0, 0, 0, 0, 0];
    await expect(fetchIt()).rejects.toThrow();
    hub = { ...hub, cuts: [], bytes: Buffer.from(content).reverse() };
    seen = [];
    await fetchIt();
    await expectWhole();
    expect(seen.at(-1)?.range).toBeUndefined();
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
    expect(await readdir(dir)).toEqual([]);
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
    expect(seen.length).toBe(1);
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
    seen = [];
    await expect(fetchIt()).rejects.toThrow(/503/);
    expect(seen.length).toBe(5);
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

  it('does not ask the hub about a file that is there', async () => {
    await writeFile(target(), 'old');
    await fetchIt({ endpoint: 'http://127.0.0.1:1' });
    expect(await readFile(target(), 'utf8')).toBe('old');
    expect(seen).toEqual([]);
  });

  it('refuses what the hub names no digest for', async () => {
    hub.digest = 'not-a-digest';
    await expect(fetchIt()).rejects.toThrow(/can't be verified/);
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
    const found = await resolve('hf:o/r/sub/m.gguf', { HF_ENDPOINT: endpoint, HF_TOKEN: 't' });
    expect(found).toEqual({ path: path.join(dir, 'hf/o/r/sub/m.gguf'), name: 'm', toy: false });
    expect(seen[0]?.token).toBe('Bearer t');
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
