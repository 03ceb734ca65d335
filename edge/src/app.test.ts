import { describe, expect, test } from 'vitest';
import { app } from './app.ts';

describe('a path that nobody knows', () => {
  test('is named in the answer', async () => {
    const answer = await app.request('/v2/models');
    expect([answer.status, await answer.text()]).toEqual([
      404,
      expect.stringContaining('no GET /v2/models.'),
    ]);
  });

  test('is said back only so far as a typo needs', async () => {
    const answer = await app.request(`/${'x'.repeat(8_000)}`);
    expect((await answer.text()).length).toBeLessThan(400);
  });
});
