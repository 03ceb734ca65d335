/** A stream of text as whole lines; a line beyond the bound is cut. */
import type { Readable } from 'node:stream';

const lineCharsMax = 65_536;

export const eachLine = (stream: Readable, accept: (line: string) => void): void => {
  let held = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (held + text).split('\n');
    held = (lines.pop() ?? '').slice(0, lineCharsMax);
    for (const line of lines) accept(line);
  });
  // Last words may lack a line end.
  stream.on('end', () => {
    if (held !== '') accept(held);
  });
};
