import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TextStream } from './text-stream.ts';

function feed(stream: TextStream, bytes: Uint8Array, cuts: readonly number[]): string[] {
  const pieces: string[] = [];
  let at = 0;
  for (const cut of [
    ...cuts.map((share) => Math.floor(share * bytes.length)).sort((a, b) => a - b),
    bytes.length,
  ]) {
    pieces.push(stream.push(bytes.subarray(at, cut)));
    at = cut;
  }
  pieces.push(stream.end());
  return pieces;
}

const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });
const anyText = fc.string({ unit: 'grapheme', maxLength: 30 });

describe('text on its way out', () => {
  it('is the same text however its bytes are cut, and never a broken character', () => {
    fc.assert(
      fc.property(anyText, cuts, (text, at) => {
        const pieces = feed(new TextStream([]), Buffer.from(text), at);
        expect(pieces.join('')).toBe(text);
        for (const piece of pieces) expect(piece).not.toContain('\ufffd');
      }),
    );
  });

  it('ends exactly before the first stop string, however it is cut', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), maxLength: 25 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: 1, maxLength: 4 }), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(letters, stops, cuts, (text, strings, at) => {
        // Byte by byte, because which stop string comes first in time depends on where the cuts are.
        const bytes = Buffer.from(text);
        const every = Array.from(bytes, (_, index) => index / bytes.length);
        for (const chosen of [every, at]) {
          const stream = new TextStream(strings);
          const sent = feed(stream, bytes, chosen).join('');
          const found = strings.filter((stop) => text.includes(stop));
          expect(stream.stopped).toBe(found.length > 0);
          expect(text.startsWith(sent)).toBe(true);
          for (const stop of strings) expect(sent).not.toContain(stop);
          if (found.length === 0) expect(sent).toBe(text);
        }
      }),
    );
  });

  it('holds back only what could still become a stop string', () => {
    const stream = new TextStream(['END']);
    expect(stream.push(Buffer.from('the EN'))).toBe('the ');
    expect(stream.push(Buffer.from('Tire'))).toBe('ENTire');
    expect(stream.push(Buffer.from(' END of it'))).toBe(' ');
    expect(stream.stopped).toBe(true);
    expect(stream.push(Buffer.from('more'))).toBe('');
    expect(stream.end()).toBe('');
  });

  it('keeps a byte order mark and drops a character that never got complete', () => {
    const stream = new TextStream([]);
    expect(stream.push(Buffer.from('\ufeffa'))).toBe('\ufeffa');
    expect(stream.push(Uint8Array.of(0xc3))).toBe('');
    expect(stream.end()).toBe('');
  });
});
