import { existsSync, mkdirSync, readFileSync, rmdirSync, utimesSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newDirectory } from '../../testing/directories.ts';
import { UserError } from '../terminal.ts';
import { lock } from '../up-lock.ts';
import { parseUp } from './up.ts';

const parse = (...argv: string[]) => {
  const settings = parseUp(argv);
  if (settings === 'help') throw new Error('help');
  return settings;
};

test('without options it is the toy on port 8080', () => {
  const directory = newDirectory();
  expect(parse('--data-dir', directory)).toEqual({
    port: 8080,
    dataDirectory: directory,
    model: 'tiny',
    engineUrls: [],
    aliases: [],
    replicas: 1,
    origins: [],
    json: false,
  });
  expect(parse('--model', 'x').dataDirectory).toBe(join(homedir(), '.cognitora'));
});

test('every option is read, paths and origins in their plain form', () => {
  const argv = ['--port', '9000', '--data-dir', 'data', '--model', 'm.gguf', '--replicas', '3', '--json'];
  const more = [
    '--alias',
    'a=b',
    '--alias',
    'c=d',
    '--origin',
    'https://edge.example/path',
    '--origin',
    'http://x:80',
  ];
  expect(parse(...argv, ...more)).toEqual({
    port: 9000,
    dataDirectory: join(process.cwd(), 'data'),
    model: 'm.gguf',
    engineUrls: [],
    aliases: ['a=b', 'c=d'],
    replicas: 3,
    origins: ['https://edge.example', 'http://x'],
    json: true,
  });
  const engines = parse('--engine-url', 'http://a:1', '--engine-url', 'http://b:2/v1', '--profile', 'vllm');
  expect(engines.engineUrls).toHaveLength(2);
  expect(engines.profile).toBe('vllm');
  expect(() => parse('--profile', 'vllm')).toThrow('--engine-url');
});

test('the default model is the newest real one in the data directory', () => {
  const directory = newDirectory();
  mkdirSync(join(directory, 'models/owner/repo'), { recursive: true });
  const put = (name: string, seconds: number): string => {
    const path = join(directory, 'models', name);
    writeFileSync(path, '');
    utimesSync(path, seconds, seconds);
    return path;
  };
  put('tiny-v1.gguf', 9000);
  put('owner/repo/half.gguf.part', 8000);
  expect(parse('--data-dir', directory).model).toBe('tiny');
  put('old.gguf', 1000);
  const newest = put('owner/repo/new.gguf', 2000);
  expect(parse('--data-dir', directory).model).toBe(newest);
  expect(parse('--data-dir', directory, '--model', 'tiny').model).toBe('tiny');
});

test('a default model in several files is named by its first one, once all of them are there', () => {
  const directory = newDirectory();
  mkdirSync(join(directory, 'models/hf/o/r'), { recursive: true });
  const put = (name: string, seconds: number): string => {
    const path = join(directory, 'models', name);
    writeFileSync(path, '');
    utimesSync(path, seconds, seconds);
    return path;
  };
  const model = (): string => parse('--data-dir', directory).model;
  put('hf/o/r/lone-00002-of-00002.gguf', 9000);
  const first = put('hf/o/r/m-00001-of-00002.gguf', 1000);
  expect(model()).toBe('tiny');
  const whole = put('whole.gguf', 2000);
  expect(model()).toBe(whole);
  // The set is as new as its newest file.
  put('hf/o/r/m-00002-of-00002.gguf', 3000);
  expect(model()).toBe(first);
  const newer = put('newer.gguf', 4000);
  expect(model()).toBe(newer);
});

test('help is help', () => {
  expect(parseUp(['--help'])).toBe('help');
  expect(parseUp(['-h'])).toBe('help');
});

test.each([
  [['--port', '0'], '--port must be a whole number from 1 to 65535'],
  [['--port', '65536'], '--port'],
  [['--port', '80x'], '--port'],
  [['--port', ''], '--port'],
  [['--replicas', '0'], '--replicas'],
  [['--replicas', '17'], '--replicas'],
  [['--replicas', '1.5'], '--replicas'],
  [['--engine-url', 'localhost:8000'], '"localhost:8000" must be a URL'],
  [['--engine-url', 'http://'], 'must be a URL'],
  [['--origin', 'edge.example'], 'must be a URL'],
  [['--engine-url', 'http://user:hunter2@x'], 'COGNITORA_ENGINE_API_KEY'],
  [['--engine-url', 'http://x', '--model', 'm'], 'leave --model and --replicas out'],
  [['--engine-url', 'http://x', '--kvcached', '/s'], '--kv-directory DIR'],
  [['--engine-url', 'http://x', '--replicas', '2'], 'leave --model and --replicas out'],
  [['--unknown'], 'cgn up --help'],
  [['8080'], 'Options go after "--": npm start -- --port 8080.'],
])('wrong arguments name the fix: %j', (argv, words) => {
  expect(() => parseUp(argv)).toThrow(UserError);
  expect(() => parseUp(argv)).toThrow(words);
  expect(() => parseUp(argv)).not.toThrow('hunter2');
});

test('a lock is held until it is released; what cannot be locked is named with what to do', () => {
  const directory = newDirectory();
  const path = join(directory, 'up.lock');
  mkdirSync(path);
  expect(() => lock(directory)).toThrow(`${path} is a directory where a file must be.`);
  rmdirSync(path);
  const unlock = lock(directory);
  expect(readFileSync(path, 'utf8')).toBe(`${process.pid}\n`);
  unlock();
  expect(existsSync(path)).toBe(false);
  writeFileSync(path, '');
  for (const data of [path, join(path, 'data')]) {
    expect(() => lock(data)).toThrow(UserError);
    expect(() => lock(data)).toThrow(data);
  }
});
