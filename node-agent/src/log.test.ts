import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLog, hideTokens, type LogOptions, logLineCharsMax } from './log.ts';

const logWith = (more: Partial<LogOptions> = {}) => {
  const lines: string[] = [];
  const log = createLog({
    format: 'auto',
    level: 'info',
    isTerminal: false,
    wallMs: () => 0,
    secrets: [],
    write: (line) => lines.push(line) > 0,
    ...more,
  });
  return { lines, log };
};

test('JSON off a terminal, words on it, or what is asked for', () => {
  const told = (more: Partial<LogOptions>) => {
    const { lines, log } = logWith(more);
    log('warn', 'engine cannot serve', { engine: 'r0', looks: 3, why: undefined });
    return lines[0];
  };
  const json =
    '{"time":"1970-01-01T00:00:00.000Z","level":"warn","event":"engine cannot serve","engine":"r0","looks":3}\n';
  const words = 'warn: engine cannot serve (engine=r0 looks=3)\n';
  expect(told({})).toBe(json);
  expect(told({ isTerminal: true })).toBe(words);
  expect(told({ isTerminal: true, format: 'json' })).toBe(json);
  expect(told({ format: 'pretty' })).toBe(words);
});

test('what is below the level is not written', () => {
  const { lines, log } = logWith({ level: 'warn', format: 'pretty' });
  log('info', 'quiet');
  log('warn', 'told');
  log('error', 'told');
  expect(lines).toEqual(['warn: told\n', 'error: told\n']);
});

test('no secret is shown, whether it is known or only looks like one', () => {
  const { lines, log } = logWith({ secrets: ['hunter2-hunter2'] });
  log('error', 'with hunter2-hunter2', { header: 'authorization: Bearer abc.def', token: 'cgj_0123456789' });
  expect(lines[0]).not.toMatch(/hunter2|abc\.def|0123456789/);
  expect(hideTokens('x cgk_abcdefgh, sk-proj-12345678 and hf_ABCDEFGH1 y')).toBe(
    'x [hidden], [hidden] and [hidden] y',
  );
  expect(hideTokens('task-oriented risk-free words')).toBe('task-oriented risk-free words');
});

test('whatever is logged, a line is one line, bounded, and JSON stays JSON', () => {
  const moving = fc.constant('\u001b[2J\u009b\u2028\u202e');
  const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), moving);
  const long = fc.integer({ min: 1, max: 20_000 }).map((chars) => '\u0007'.repeat(chars));
  const fields = fc.dictionary(text, fc.oneof(text, long, fc.integer(), fc.boolean()), { maxKeys: 40 });
  fc.assert(
    fc.property(fc.oneof(text, long), fields, (event, values) => {
      for (const format of ['json', 'pretty'] as const) {
        const { lines, log } = logWith({ format });
        log('info', event, values);
        const line = lines[0]?.slice(0, -1) ?? '';
        expect(lines).toHaveLength(1);
        expect(line.length).toBeLessThanOrEqual(logLineCharsMax);
        expect(line).not.toMatch(/[\p{Cc}\u2028\u2029\u202e]/u);
        if (format === 'json') expect(JSON.parse(line)).toMatchObject({ level: 'info' });
      }
    }),
  );
});

test('what was lost is told once there is room', () => {
  let room = 1;
  const written: string[] = [];
  const { log } = logWith({
    format: 'pretty',
    write: (line) => {
      room -= 1;
      if (room >= 0) written.push(line);
      return room >= 0;
    },
  });
  log('info', 'one');
  log('info', 'two');
  log('info', 'three');
  room = 9;
  log('info', 'four');
  expect(written).toEqual(['one\n', 'warn: log lines were lost (lines=2)\n', 'four\n']);
});
