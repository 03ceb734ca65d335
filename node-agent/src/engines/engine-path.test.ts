import { describe, expect, test } from 'vitest';
import type { EngineConfig } from './engine-config.ts';
import { enginePath } from './engine-path.ts';
import { LookRefused } from './look-failures.ts';
import { pollMsOf } from './looks-of.ts';

test.each([
  ['http://a:1', '/v1/models', '/v1/models'],
  ['http://a:1/', '/health', '/health'],
  ['http://a:1/v1', '/v1/models', '/v1/models'],
  ['http://a:1/v1/', '/health', '/health'],
  ['http://a:1/proxy/v1', '/v1/models', '/proxy/v1/models'],
  ['http://a:1/proxy/v1//', '/health', '/proxy/health'],
  ['https://a/v1beta/openai', '/v1/chat/completions', '/v1beta/openai/chat/completions'],
  ['https://a/v1beta/openai/', '/v1/models', '/v1beta/openai/models'],
  ['https://a/api/v10', '/v1/models', '/api/v10/models'],
  ['https://a/base', '/v1beta/x', '/base/v1beta/x'],
])('at %s %s is %s', (url, path, found) => {
  expect(enginePath(new URL(url), path)).toBe(found);
});

describe('a look is left for longer', () => {
  const configOf = (profile: string, url: string): EngineConfig => ({
    name: 'r0' as EngineConfig['name'],
    profile,
    role: 'both',
    kvOffload: 'none',
    source: { kind: 'attached', url: new URL(url), kvEvents: undefined, gpus: [], kvDirectory: undefined },
    aliases: new Map(),
    apiKey: undefined,
  });

  test.each([
    ['openai', 'https://api.example/v1', 30_000],
    ['openai', 'http://127.0.0.1:8000', undefined],
    ['openai', 'http://10.0.0.5:8000', undefined],
    ['vllm', 'https://vllm.example', undefined],
  ])('of a hosted API: %s at %s', (profile, url, pollMs) => {
    expect(pollMsOf(configOf(profile, url))).toBe(pollMs);
  });

  test.each([
    [429, '7', 7_000],
    [429, '0', 1_000],
    [429, '86400', 300_000],
    [429, undefined, 30_000],
    [429, 'Wed, 21 Oct 2026 07:28:00 GMT', 30_000],
    [503, '7', undefined],
  ])('where it answers %i with Retry-After %s', (status, retryAfter, waitMs) => {
    expect(new LookRefused('/v1/models', status, retryAfter).waitMs).toBe(waitMs);
  });
});
