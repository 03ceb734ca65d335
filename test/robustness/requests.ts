/** Clients that behave badly, on raw HTTP: they hang up, or stop reading, at a chosen moment. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Cluster } from '../harness/cluster.ts';
import { type RawAnswer, type SendOptions, send } from '../harness/http.ts';
import { puppetModel, type Strings } from './puppet-engine.ts';

export const chatPath = '/v1/chat/completions';

export interface Ask extends Strings {
  readonly stream?: boolean;
  /** Bytes of prompt. */
  readonly promptBytes?: number;
}

export const bodyFor = ({ stream = true, promptBytes = 16, ...puppet }: Ask): string =>
  JSON.stringify({
    model: puppetModel,
    stream,
    puppet,
    messages: [{ role: 'user', content: 'p'.repeat(promptBytes) }],
  });

export const headersFor = (cluster: Cluster, id: string): Record<string, string> => ({
  authorization: `Bearer ${cluster.apiKey}`,
  'content-type': 'application/json',
  'x-request-id': id,
});

/** One whole request. */
export const ask = (cluster: Cluster, id: string, what: Ask, options: SendOptions = {}): Promise<RawAnswer> =>
  send(cluster.url + chatPath, { body: bodyFor(what), headers: headersFor(cluster, id), ...options });

export interface OpenRequest {
  readonly outgoing: ClientRequest;
  /** Rejects when the connection ends before an answer began. */
  readonly answered: Promise<IncomingMessage>;
  /**
   * Ends the connection. `reset` is what plain workerd hears by itself. `close` is an orderly end of the client's side,
   * which is what SDKs and curl do: of that its supervisor tells it.
   */
  hangUp(how?: 'reset' | 'close'): void;
}

export interface OpenOptions {
  /** The content-length, when it is not the body's. */
  readonly announcedBytes?: number;
  /** False: more of the body was to come. */
  readonly isEnded?: boolean;
}

/** Sends a request and leaves its answer unread until somebody reads it. */
export const openRequest = (
  cluster: Cluster,
  id: string,
  body: string | Buffer,
  { announcedBytes = Buffer.byteLength(body), isEnded = true }: OpenOptions = {},
): OpenRequest => {
  const headers = { ...headersFor(cluster, id), 'content-length': String(announcedBytes) };
  const outgoing = request(cluster.url + chatPath, { method: 'POST', agent: false, headers });
  const answered = new Promise<IncomingMessage>((accept, reject) => {
    outgoing.once('response', (incoming) => {
      incoming.on('error', () => {});
      accept(incoming);
    });
    outgoing.on('error', reject);
  });
  answered.catch(() => {});
  if (isEnded) outgoing.end(body);
  else outgoing.write(body);
  const hangUp = (how: 'reset' | 'close' = 'reset'): void => {
    if (how === 'reset') outgoing.socket?.resetAndDestroy();
    outgoing.destroy();
  };
  return { outgoing, answered, hangUp };
};

/** Says it on a connection of its own, and hears until that closes. */
export const talkTo = (
  { url }: Cluster,
  text: string,
): { readonly socket: Socket; readonly heard: Promise<string> } => {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  socket.on('error', () => {});
  let heard = '';
  socket.on('data', (part: Buffer) => {
    heard += part.toString();
  });
  socket.write(text);
  return { socket, heard: new Promise((accept) => socket.once('close', () => accept(heard))) };
};

/** A measured number, in the output of the run that asserted on it. */
export const figure = (text: string): void => {
  process.stdout.write(`[figure] ${text}\n`);
};
