import { expect, test } from 'vitest';
import type { EngineNote } from './engine-messages.ts';
import { Trails } from './trails.ts';

const trailsOf = (...notes: readonly (readonly [EngineNote['kind'], number])[]): Trails => {
  const trails = new Trails();
  for (const [at, [kind, emittedWords]] of notes.entries()) {
    trails.add({ kind, emittedWords, requestId: 'r', engine: `e${at}`, us: at * 1e6 });
  }
  return trails;
};

test('a request that begins again is retried from nothing, and continued from a part of its answer', () => {
  expect(trailsOf(['begun', 0], ['whole', 0]).travelOf('r')).toEqual({ continuations: 0, retries: 0 });
  expect(trailsOf(['begun', 0], ['begun', 0]).travelOf('r')).toEqual({ continuations: 0, retries: 1 });
  const both = trailsOf(['begun', 0], ['begun', 0], ['begun', 7], ['begun', 9]);
  expect(both.travelOf('r')).toEqual({ continuations: 2, retries: 1 });
  expect(both.travelOf('unheard of')).toEqual({ continuations: 0, retries: 0 });
});

test('its way is told in order', () => {
  const told = trailsOf(['begun', 0], ['broken off', 0], ['begun', 7]).tell('r', 0);
  expect(told).toBe('0.00 s e0 begun; 1.00 s e1 broken off; 2.00 s e2 begun behind 7 words');
});
