/**
 * What the simulated engines answer: a pure function of the prompt and of what was emitted already. So a stream that is
 * continued by another engine has exactly the undisturbed text, or the difference shows.
 */
import { createHash } from 'node:crypto';

/** Characters of each piece. */
export const pieceChars = 6;

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** Tells how long the answer is. */
const lengthPattern = /pieces=(\d+)/;

const piecesOf = (prompt: string): number => Number(lengthPattern.exec(prompt)?.[1] ?? 1);

/** The whole answer of a prompt. */
export const answerOf = (prompt: string): string => {
  let text = '';
  let block: Uint8Array = createHash('sha256').update(prompt).digest();
  const pieces = piecesOf(prompt);
  for (let piece = 0; piece < pieces; piece += 1) {
    if (piece % 4 === 0) block = createHash('sha256').update(block).digest();
    for (let at = 1; at < pieceChars; at += 1) {
      text += alphabet[(block[(piece % 4) * 6 + at] ?? 0) % alphabet.length];
    }
    // Behind each word: white space at a seam is what engines are not told, and say again.
    text += ' ';
  }
  return text;
};

/** What comes behind `emitted`, in pieces. An engine that is given what it did not say goes on with nonsense. */
export const piecesAfter = (prompt: string, emitted: string): readonly string[] => {
  const whole = answerOf(prompt);
  if (!whole.startsWith(emitted)) return [`#no part of the answer: ${emitted.slice(0, 80)}#`];
  const rest = whole.slice(emitted.length);
  const pieces: string[] = [];
  // A seam within a piece is made good by a shorter one.
  let from = 0;
  while (from < rest.length) {
    const to = from + pieceChars - ((emitted.length + from) % pieceChars);
    pieces.push(rest.slice(from, to));
    from = to;
  }
  return pieces;
};
