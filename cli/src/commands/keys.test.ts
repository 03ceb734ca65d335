import { expect, test } from 'vitest';
import { joinReport, keys, parseUses } from './keys.ts';

test('a count of uses is a whole number from 1', () => {
  expect(parseUses('16')).toBe(16);
  for (const text of ['', '0', '-1', '1.5', 'many', '1e3', '99999999'])
    expect(() => parseUses(text)).toThrow('--uses');
});

test.each([
  [['frobnicate'], 'There is no "cgn keys frobnicate"'],
  [['create'], '--name'],
  [['revoke'], 'Name what to revoke'],
  [['ls', '--unknown'], 'cgn keys --help'],
  [
    ['create', '--name', 'x', '--edge', 'http://127.0.0.1:1', '--data-dir', '/nonexistent'],
    'COGNITORA_ADMIN_KEY',
  ],
])('wrong arguments name the fix: %j', async (argv, words) => {
  await expect(keys(argv)).rejects.toThrow(words);
  await expect(keys(argv)).rejects.toMatchObject({ exitCode: 2 });
});

test('the command for a host has its token, and an edge that only this machine reaches is told of', () => {
  const made = { joinToken: 'cgj_x', usesLeft: 2, expiresAtMs: 3_600_000 };
  const far = joinReport(made, 'https://edge.example', 0);
  expect(far).not.toContain('checkout');
  expect(far).toContain(
    '  COGNITORA_JOIN_TOKEN=cgj_x npm run cgn -- agent --edge https://edge.example --engine-url',
  );
  expect(far).toContain('--engine-url http://127.0.0.1:8000 \\\n    --profile vllm\n');
  expect(far).not.toContain('this machine only');
  for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
    expect(joinReport(made, `http://${host}:8080`, 0)).toMatch(/this machine only.*--origin/s);
  }
});
