import { expect, test } from 'vitest';
import { Losses } from './losses.ts';

/** What a look whose connections are ended so often calls for. */
const look = (losses: Losses, ends: number): readonly string[] => {
  losses.looking();
  return Array.from({ length: ends }, () => losses.lost());
};

test('many connections of one death call for one look', () => {
  expect(look(new Losses(), 3)).toEqual(['look', 'wait', 'wait']);
});

test('a habit is told once and no reason to look; a connection that was kept ends it', () => {
  const losses = new Losses();
  const calledFor = Array.from({ length: 6 }, () => look(losses, 1)[0]);
  expect(calledFor).toEqual(['look', 'look', 'look', 'told', 'wait', 'wait']);
  look(losses, 0);
  expect(Array.from({ length: 5 }, () => look(losses, 1)[0])).toEqual([
    'look',
    'look',
    'look',
    'wait',
    'wait',
  ]);
});
