import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newDirectory } from '../testing/directories.ts';
import { adminKeyHashOf, loadCredentials, loadOrCreateCredentials, saveCredentials } from './credentials.ts';
import { UserError } from './terminal.ts';

const modeOf = (path: string): number => statSync(path).mode & 0o777;

test('credentials are made at random on first use, for their owner alone, and found again', () => {
  const directory = join(newDirectory(), 'data');
  expect(loadCredentials(directory)).toBeUndefined();
  const made = loadOrCreateCredentials(directory);
  expect(made.adminKey).toMatch(/^cga_[\w-]{43}$/);
  expect(made.fleetSecret.length).toBeGreaterThanOrEqual(32);
  expect(modeOf(join(directory, 'credentials'))).toBe(0o600);
  expect(modeOf(directory)).toBe(0o700);
  expect(readdirSync(directory)).toEqual(['credentials']);
  expect(loadOrCreateCredentials(directory)).toEqual(made);
  expect(loadOrCreateCredentials(newDirectory()).adminKey).not.toBe(made.adminKey);
});

test('what was learned later is kept, and a file that others could read is closed', () => {
  const directory = newDirectory();
  const all = { ...loadOrCreateCredentials(directory), apiKey: 'cgk_x', url: 'http://127.0.0.1:8080' };
  saveCredentials(directory, all);
  chmodSync(join(directory, 'credentials'), 0o644);
  expect(loadCredentials(directory)).toEqual(all);
  expect(modeOf(join(directory, 'credentials'))).toBe(0o600);
});

test.each([
  '',
  '{',
  'null',
  '[]',
  '{}',
  '{"adminKey":"a"}',
  '{"adminKey":"","fleetSecret":"x"}',
  '{"adminKey":1,"fleetSecret":2}',
])('the damaged file %j is told of and left alone', (text) => {
  const directory = newDirectory();
  const path = join(directory, 'credentials');
  writeFileSync(path, text);
  for (const load of [loadCredentials, loadOrCreateCredentials]) {
    expect(() => load(directory)).toThrow(UserError);
    expect(() => load(directory)).toThrow(path);
  }
  expect(readFileSync(path, 'utf8')).toBe(text);
});

test('credentials that are a directory are told of, and nothing half-written stays', () => {
  const directory = newDirectory();
  const path = join(directory, 'credentials');
  mkdirSync(path);
  expect(() => loadCredentials(directory)).toThrow(`${path} is a directory where a file must be.`);
  expect(() => saveCredentials(directory, { adminKey: 'a', fleetSecret: 'b' })).toThrow(UserError);
  expect(readdirSync(directory)).toEqual(['credentials']);
});

test('fields of another version are ignored', () => {
  const directory = newDirectory();
  writeFileSync(join(directory, 'credentials'), '{"adminKey":"a","fleetSecret":"b","url":7,"more":{}}');
  expect(loadCredentials(directory)).toEqual({ adminKey: 'a', fleetSecret: 'b' });
});

test('the admin key reaches the edge as its SHA-256', () => {
  expect(adminKeyHashOf('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});
