/**
 * A fast OpenAI-compatible engine for benches, in a process of its own: raw sockets, prepared bytes, no JSON
 * parsing. Serves `GET /<model>/v1/models` and `POST /<model>/v1/chat/completions`; a request's `max_tokens`
 * is the number of events, `bench_interval_ms` the time between them (0: all at once), `user` the stream's
 * tag. Not a server for anything but the bench: it trusts its callers.
 */
import { createServer, type Socket } from 'node:net';
import { monotonicUs } from '../machine/clock.ts';
import { serveCommands } from '../machine/worker-process.ts';
import type { EngineAnswer, EngineCommand } from './engine-messages.ts';
import { doneEvent, eventBytes, usageEvent, writeEvent } from './event-script.ts';

const streamHead = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n' +
    'transfer-encoding: chunked\r\n\r\n',
);
const lineEnd = Buffer.from('\r\n');
const lastChunk = Buffer.from('0\r\n\r\n');
const eventPrefix = Buffer.from(`${eventBytes.toString(16)}\r\n`);
const eventChunkBytes = eventPrefix.length + eventBytes + lineEnd.length;

const chunkOf = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, lineEnd]);

const endWithUsage = Buffer.concat([chunkOf(usageEvent), chunkOf(doneEvent), lastChunk]);
const endPlain = Buffer.concat([chunkOf(doneEvent), lastChunk]);

let requests = 0;
let events = 0;

const eventChunk = (tag: string, index: number): Buffer => {
  const chunk = Buffer.allocUnsafe(eventChunkBytes);
  chunk.set(eventPrefix, 0);
  writeEvent(chunk, eventPrefix.length, tag, index, monotonicUs());
  chunk.set(lineEnd, eventPrefix.length + eventBytes);
  events += 1;
  return chunk;
};

const answerModels = (socket: Socket, path: string): void => {
  const model = /^\/([^/]+)\/v1\//.exec(path)?.[1] ?? 'bench';
  const body = `{"object":"list","data":[{"id":"${model}","object":"model","created":1,"owned_by":"bench"}]}`;
  socket.write(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
};

const answerStream = (socket: Socket, body: string): void => {
  const count = Number(/"max_tokens":(\d+)/.exec(body)?.[1] ?? 1);
  const intervalMs = Number(/"bench_interval_ms":(\d+)/.exec(body)?.[1] ?? 0);
  const tag = /"user":"(\d{8})"/.exec(body)?.[1] ?? '00000000';
  const end = body.includes('"include_usage":true') ? endWithUsage : endPlain;
  requests += 1;
  if (intervalMs === 0) {
    const chunks = Array.from({ length: count }, (_, index) => eventChunk(tag, index));
    socket.write(Buffer.concat([streamHead, ...chunks, end]));
    return;
  }
  socket.write(Buffer.concat([streamHead, eventChunk(tag, 0)]));
  let index = 1;
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer);
    else if (index < count) {
      socket.write(eventChunk(tag, index));
      index += 1;
    } else {
      clearInterval(timer);
      socket.write(end);
    }
  }, intervalMs);
};

const serve = (socket: Socket): void => {
  let held = '';
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (bytes: Buffer) => {
    held += bytes.toString('latin1');
    for (;;) {
      const headEnd = held.indexOf('\r\n\r\n');
      if (headEnd < 0) return;
      const head = held.slice(0, headEnd);
      const bodyBytes = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      const isChunked = /\r\ntransfer-encoding: *chunked/i.test(head);
      const bodyEnd = isChunked ? held.indexOf('\r\n0\r\n\r\n', headEnd) + 7 : headEnd + 4 + bodyBytes;
      if (held.length < bodyEnd || (isChunked && bodyEnd === 6)) return;
      const body = held.slice(headEnd + 4, bodyEnd);
      held = held.slice(bodyEnd);
      if (head.startsWith('POST')) answerStream(socket, body);
      else answerModels(socket, head.split(' ', 2)[1] ?? '/');
    }
  });
};

const server = createServer({ noDelay: true }, serve);

const listen = (): Promise<number> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', 4096, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });

let port = 0;
serveCommands<EngineCommand, EngineAnswer>(async ({ kind }) => {
  if (kind === 'listen' && port === 0) port = await listen();
  return { port, requests, events };
});
