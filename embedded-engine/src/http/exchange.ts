/**
 * One HTTP exchange: reading a bounded body, answering with JSON or an error, streaming server-sent events,
 * and noticing that the client left. No route and no model is known here.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { bodyBytesMax } from '../limits.ts';
import { Aborted, type ApiError, bodyTooLarge } from '../openai/errors.ts';
import { type JsonObject, parseBody } from '../openai/fields.ts';

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted when the client leaves before the answer is complete, and when the engine stops. */
  readonly signal: AbortSignal;
}

/** `stop` is the engine's own signal. */
export function openExchange(
  request: IncomingMessage,
  response: ServerResponse,
  stop: AbortSignal,
): Exchange {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  // A reset connection is a client that left, not a reason to end the process.
  request.on('error', () => gone.abort());
  response.on('error', () => gone.abort());
  return { request, response, signal: AbortSignal.any([gone.signal, stop]) };
}

export async function readBody(exchange: Exchange): Promise<JsonObject> {
  const { request } = exchange;
  if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) throw bodyTooLarge();
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    // Events and not `for await`: leaving such a loop early destroys the socket, and with it the answer.
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > bodyBytesMax) reject(bodyTooLarge());
      else chunks.push(chunk);
    });
    request.once('end', () => resolve(Buffer.concat(chunks)));
    request.once('close', () => reject(new Aborted()));
  });
  return parseBody(bytes.toString('utf8'));
}

export function sendText(exchange: Exchange, status: number, text: string, type: string): void {
  const { response } = exchange;
  if (response.headersSent || response.destroyed) return;
  const bytes = Buffer.from(text);
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length });
  response.end(bytes);
}

export function sendJson(exchange: Exchange, status: number, body: unknown): void {
  sendText(exchange, status, JSON.stringify(body), 'application/json');
}

export function sendError(exchange: Exchange, error: ApiError): void {
  const { response } = exchange;
  if (response.destroyed) return;
  if (response.headersSent) {
    // The status is out; an error event without `[DONE]` tells the client that the stream did not end well.
    response.end(`data: ${JSON.stringify(error.toBody())}\n\n`);
    return;
  }
  for (const [name, value] of Object.entries(error.headers)) response.setHeader(name, value);
  sendJson(exchange, error.status, error.toBody());
}

export interface EventStream {
  send(body: unknown): void;
  end(): void;
}

/** Commits to status 200 and a stream of events. */
export function openEventStream(exchange: Exchange): EventStream {
  const { response } = exchange;
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  });
  return {
    send: (body) => {
      response.write(`data: ${JSON.stringify(body)}\n\n`);
    },
    end: () => {
      response.end('data: [DONE]\n\n');
    },
  };
}
