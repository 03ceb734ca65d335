/** Real engines' answers out of `test/fakes/recordings`, without their HTTP. Only tests import it. */
import { readFileSync } from 'node:fs';

export const recordings = new URL('../../test/fakes/recordings/', import.meta.url);

export interface RecordedAnswer {
  readonly isStream: boolean;
  readonly body: Buffer;
}

/** An answer as it was recorded: whether it is a stream, and its body, out of its chunks where it came in some. */
export const recordedAnswer = (engine: string, file: string): RecordedAnswer => {
  const answer = readFileSync(new URL(`${engine}/${file}.http`, recordings));
  const headEnd = answer.indexOf('\r\n\r\n') + 4;
  const head = answer.toString('latin1', 0, headEnd).toLowerCase();
  const isStream = head.includes('text/event-stream');
  if (!head.includes('chunked')) return { isStream, body: answer.subarray(headEnd) };
  const parts: Buffer[] = [];
  for (let at = headEnd; ; ) {
    const lineEnd = answer.indexOf('\r\n', at);
    const size = Number.parseInt(answer.toString('latin1', at, lineEnd), 16);
    if (size === 0) return { isStream, body: Buffer.concat(parts) };
    parts.push(answer.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
};
