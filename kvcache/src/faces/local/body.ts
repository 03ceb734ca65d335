/** Bodies of requests: read to their end, into a buffer of bounded size or into one that is given. */
import type { IncomingMessage } from 'node:http';
import { LocalError } from './error.ts';

/** 4,096 keys of 60 bytes fit four times; as many of the longest do not. */
export const bodyBytesMax = 2 ** 20;

/** As the request says; a body without a length is none that a store could make room for. */
export const lengthOf = ({ headers }: IncomingMessage): number => {
  const said = headers['content-length'] ?? '';
  if (!/^\d{1,15}$/.test(said)) throw new LocalError('length_missing', 'Say Content-Length.');
  return Number(said);
};

/** Fills the buffer, which is as long as the body. Rejects when the client goes before the end. */
export const readInto = (request: IncomingMessage, into: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    let at = 0;
    request.on('data', (bytes: Buffer) => {
      into.set(bytes, at);
      at += bytes.length;
    });
    request.once('end', resolve);
    const gone = (): void => reject(new LocalError('bad_request', 'The body ended before its length.'));
    request.once('error', gone);
    request.once('close', gone);
  });

export const readJson = async (request: IncomingMessage): Promise<Uint8Array> => {
  const bytes = lengthOf(request);
  if (bytes > bodyBytesMax) throw new LocalError('too_large', `A request has ${bodyBytesMax} bytes at most.`);
  const into = new Uint8Array(bytes);
  await readInto(request, into);
  return into;
};
