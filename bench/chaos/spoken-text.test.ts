import fc from 'fast-check';
import { expect, test } from 'vitest';
import { answerTo, countWords, promptOf, Speaker, tokensOf } from './spoken-text.ts';

const prompt = (story: number): string =>
  promptOf([{ role: 'user', content: `Say 60 words of story ${story}.` }]);

const restOf = (asked: string, emitted: string): string => {
  const speaker = new Speaker(asked, emitted);
  let rest = '';
  for (let word = speaker.next(); word !== undefined; word = speaker.next()) rest += word;
  return rest;
};

test('an answer that goes on from any of its words is the undisturbed one', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(60), (story, cut) => {
      const whole = answerTo(prompt(story)).text;
      const emitted = answerTo(prompt(story), cut).text;
      expect(emitted + restOf(prompt(story), emitted)).toBe(whole);
    }),
  );
});

test('one that goes on from a text with a lost, repeated or foreign word is another', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 2, max: 50 }), (story, cut) => {
      const whole = answerTo(prompt(story)).text;
      const said = answerTo(prompt(story), cut).text.split(/(?= )/);
      const last = said.at(-1) ?? '';
      for (const wrong of [said.slice(0, -1).concat(last, last), said.slice(0, -1), said.concat(' other')]) {
        const joined = wrong.join('');
        if (whole.startsWith(joined)) continue;
        expect(joined + restOf(prompt(story), joined)).not.toBe(whole);
      }
      // A word that never arrived at the client, though its engine said it.
      expect(said.slice(0, -1).join('') + restOf(prompt(story), said.join(''))).not.toBe(whole);
    }),
  );
});

test('words and tokens add up', () => {
  const { text, words, finishReason } = answerTo(prompt(1));
  expect([words, countWords(text), finishReason]).toEqual([60, 60, 'stop']);
  expect(answerTo(prompt(1), 12)).toMatchObject({ words: 12, finishReason: 'length' });
  expect(tokensOf(prompt(1), text)).toBe(tokensOf(prompt(1)) + 60);
});
