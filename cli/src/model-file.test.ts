import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newDirectory } from '../testing/directories.ts';
import { checkModelFile } from './model-file.ts';

test('a model file is one that begins like one; what is no path is not looked at', () => {
  const directory = newDirectory();
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  checkModelFile('tiny');
  checkModelFile('hf:owner/repo/file.gguf');
  checkModelFile(file('good.gguf', 'GGUF...'));
  for (const text of ['', 'GG', '<html>']) {
    expect(() => checkModelFile(file('bad.gguf', text))).toThrow('is not a GGUF file');
  }
  expect(() => checkModelFile(join(directory, 'none.gguf'))).toThrow('There is no file');
  expect(() => checkModelFile(directory)).toThrow('There is no file');
});
