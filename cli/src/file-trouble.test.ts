import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newDirectory } from '../testing/directories.ts';
import { fileTrouble, withFile } from './file-trouble.ts';
import { UserError } from './terminal.ts';

test('what lies under a file, is one, or is a directory is named with what to do', () => {
  const directory = newDirectory();
  const file = join(directory, 'file');
  writeFileSync(file, '');
  const under = join(file, 'data');
  const inWay = () => withFile(file, () => mkdirSync(file, { recursive: true }));
  expect(inWay).toThrow(UserError);
  expect(inWay).toThrow(`${file} is there already, and not what it must be. Move it away`);
  expect(() => withFile(under, () => mkdirSync(under, { recursive: true }))).toThrow(
    `${under} lies under a file`,
  );
  expect(() => withFile(directory, () => readFileSync(directory))).toThrow(
    `${directory} is a directory where`,
  );
});

test.each(['EACCES', 'EROFS', 'ENOSPC'])('%s is told in words', (code) => {
  const error = Object.assign(new Error(code), { code });
  expect(fileTrouble(error, '/data/x')?.message).toMatch(
    /^\/data\/x .* choose another --data-dir\.$|^\/data\/x .*Choose/,
  );
  expect(fileTrouble(Object.assign(error, { path: '/y' }))?.message).toMatch(/^\/y /);
});

test('what is no trouble with a file stays what it was', () => {
  const error = new Error('else');
  expect(fileTrouble(error, '/x')).toBeUndefined();
  expect(fileTrouble('text', '/x')).toBeUndefined();
  const run = (): never => {
    throw error;
  };
  expect(() => withFile('/x', run)).toThrow(error);
  expect(() => mkdtempSync('/nowhere/at/all')).toThrow('ENOENT');
});
