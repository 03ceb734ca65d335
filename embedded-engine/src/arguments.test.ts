import { describe, expect, it } from 'vitest';
import { help, parseArguments } from './arguments.ts';

const parse = (line: string) => parseArguments(line === '' ? [] : line.split(' '), {});
const wrong = (line: string): string => {
  const parsed = parse(line);
  return parsed.kind === 'wrong' ? parsed.message : '';
};

describe('the command line', () => {
  it('needs only a model', () => {
    expect(parse('--model tiny')).toMatchObject({
      kind: 'run',
      settings: {
        model: 'tiny',
        host: '127.0.0.1',
        port: 0,
        sequences: 4,
        contextTokens: 4096,
        threads: undefined,
        blockTokens: 16,
        slotSavePath: undefined,
        kvEvents: undefined,
        progressJson: false,
      },
    });
  });

  it('says what to do about a mistake', () => {
    expect(wrong('')).toContain('--model tiny');
    expect(wrong('--model tiny --modle x')).toMatch(/--modle.*--help/);
    expect(wrong('--model tiny --port 70000')).toContain('0 to 65535');
    expect(wrong('--model tiny --sequences 1.5')).toContain('whole number');
    expect(wrong('--model tiny --kv-events 5557')).toContain('tcp://127.0.0.1:5557');
    expect(wrong('--model tiny --kv-events-replay tcp://127.0.0.1:1')).toContain('give both');
    expect(wrong('tiny')).not.toBe('');
  });

  it('takes a socket whose path has a space', () => {
    const kvEvents = 'ipc:///tmp/my data/kv-events';
    expect(parseArguments(['--model', 'tiny', '--kv-events', kvEvents], {})).toMatchObject({
      settings: { kvEvents },
    });
  });

  it('names every option in its help', () => {
    expect(parse('--help').kind).toBe('help');
    for (const flag of [
      'model',
      'port',
      'host',
      'served-name',
      'sequences',
      'context',
      'threads',
      'models-dir',
    ]) {
      expect(help).toContain(`--${flag}`);
    }
    for (const flag of ['kv-events', 'kv-events-replay', 'block-size', 'progress-json']) {
      expect(help).toContain(`--${flag}`);
    }
  });

  it('keeps models in the cache directory unless told otherwise', () => {
    const parsed = parseArguments(['--model', 'tiny'], { XDG_CACHE_HOME: '/cache' });
    expect(parsed).toMatchObject({ settings: { modelsDir: '/cache/cognitora/models' } });
    expect(parse('--model tiny --models-dir /m')).toMatchObject({ settings: { modelsDir: '/m' } });
  });
});
