/** The reader gives the same answer however the bytes were cut. */
import { describe, expect, it } from 'vitest';
import { ResponseReader } from './response-reader.ts';

const chunked =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n' +
  '6\r\ndata: \r\n3\r\na\n\n\r\n0\r\n\r\n';
const counted = 'HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello';
const empty = 'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n';

const read = (text: string, pieceBytes: number): readonly string[] => {
  const heard: string[] = [];
  let body = '';
  const reader = new ResponseReader({
    head: (status) => heard.push(String(status)),
    body: (bytes) => {
      body += bytes.toString();
    },
    end: () => {
      heard.push(body);
      body = '';
    },
  });
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += pieceBytes) reader.push(bytes.subarray(at, at + pieceBytes));
  return heard;
};

describe('ResponseReader', () => {
  it.each([1, 2, 3, 7, 64, 10_000])('reads responses one after the other in pieces of %i bytes', (bytes) => {
    expect(read(chunked + counted + empty + chunked, bytes)).toEqual([
      '200',
      'data: a\n\n',
      '404',
      'hello',
      '204',
      '',
      '200',
      'data: a\n\n',
    ]);
  });

  it('refuses what is not HTTP/1.1 with a length', () => {
    expect(() => read('SSH-2.0\r\n\r\n', 100)).toThrow('not an HTTP/1.1 response');
    expect(() => read('HTTP/1.1 200 OK\r\n\r\n', 100)).toThrow('without a length');
    expect(() => read('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', 100)).toThrow('size');
  });
});
