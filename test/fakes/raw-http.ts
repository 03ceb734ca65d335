/** HTTP/1.1 as bytes: where an answer ends and what it holds. For recording answers and playing them, no more. */

const headEnd = Buffer.from('\r\n\r\n');

/** Whether the bytes hold a whole answer, by its own content-length or by its last chunk. */
export const isWholeAnswer = (bytes: Buffer): boolean => {
  const end = bytes.indexOf(headEnd);
  if (end < 0) return false;
  const head = bytes.toString('latin1', 0, end).toLowerCase();
  const body = bytes.subarray(end + headEnd.length);
  if (/\r\ntransfer-encoding: *chunked/.test(head)) return isWholeChunked(body);
  const length = Number(/\r\ncontent-length: *(\d+)/.exec(head)?.[1]);
  if (Number.isNaN(length)) throw new Error(`an answer whose end nobody can tell: ${head}`);
  return body.length >= length;
};

const isWholeChunked = (body: Buffer): boolean => {
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf('\r\n', at);
    if (lineEnd < 0) return false;
    const size = Number.parseInt(body.toString('latin1', at, lineEnd), 16);
    at = lineEnd + 2 + size + 2;
    if (at > body.length) return false;
    if (size === 0) return true;
  }
};

/** What the chunks of a chunked body hold, or the body of one that has a length. */
export const bodyOf = (answer: Buffer): Buffer => {
  const end = answer.indexOf(headEnd) + headEnd.length;
  const body = answer.subarray(end);
  if (!/\r\ntransfer-encoding: *chunked/i.test(answer.toString('latin1', 0, end))) return body;
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = body.indexOf('\r\n', at);
    const size = Number.parseInt(body.toString('latin1', at, lineEnd), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(body.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
};

export interface RawRequest {
  readonly path: string;
  readonly body: string;
  readonly requestId: string | undefined;
  /** Its length on the wire. */
  readonly bytes: number;
}

/** The first request of the bytes; undefined while it is not whole. Requests have a content-length or no body. */
export const headAndBody = (bytes: Buffer): RawRequest | undefined => {
  const end = bytes.indexOf(headEnd);
  if (end < 0) return undefined;
  const head = bytes.toString('latin1', 0, end);
  const from = end + headEnd.length;
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  if (bytes.length < from + length) return undefined;
  return {
    path: head.split(' ')[1] ?? '',
    body: bytes.toString('utf8', from, from + length),
    requestId: /\r\nx-request-id: *(\S+)/i.exec(head)?.[1],
    bytes: from + length,
  };
};

export const inChunks = (bytes: Buffer, size: number): readonly Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  );
