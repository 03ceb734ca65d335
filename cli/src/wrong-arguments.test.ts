import { parseArgs } from 'node:util';
import { expect, test } from 'vitest';
import { wholeNumber, wrongArguments } from './wrong-arguments.ts';

const told = (...args: string[]): string => {
  try {
    parseArgs({ args, options: { port: { type: 'string' } }, strict: true });
  } catch (thrown) {
    return wrongArguments(thrown, 'up', 'npm start -- --port 8080').message;
  }
  throw new Error('parsed');
};

test('a wrong option is named, in one sentence', () => {
  expect(told('--modle')).toBe(`Unknown option '--modle'. See "cgn up --help".`);
});

test('of several lines the first is told', () => {
  expect(told('--port', '-1')).toBe(`Option '--port' argument is ambiguous. See "cgn up --help".`);
});

test('where npm kept an option for itself, its value alone says where options go', () => {
  expect(told('8080')).toBe(
    `Unexpected argument '8080'. Options go after "--": npm start -- --port 8080. See "cgn up --help".`,
  );
});

test('a number that is none, or beyond its bounds, is told with them', () => {
  expect(wholeNumber('8080', '--port', 1, 65_535)).toBe(8_080);
  for (const text of ['0', '65536', '1.5', '-1', '1e3', 'eighty', '']) {
    expect(() => wholeNumber(text, '--port', 1, 65_535)).toThrow(
      `--port must be a whole number from 1 to 65535, not "${text}".`,
    );
  }
});
