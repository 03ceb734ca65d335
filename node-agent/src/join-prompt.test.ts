import { PassThrough, Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { askJoinToken } from './join-prompt.ts';

/** A terminal at which somebody presses these keys once it is asked; with all that it showed and was told to be. */
const typing = async (keys: string, isTTY = true) => {
  const modes: boolean[] = [];
  const setRawMode = (isRaw: boolean): void => {
    modes.push(isRaw);
  };
  const input = Object.assign(new PassThrough(), { isTTY, setRawMode });
  let shown = '';
  const output = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      shown += chunk.toString();
      done();
    },
  });
  const asked = askJoinToken({ input, output });
  input.write(keys);
  return { token: await asked, shown, modes };
};

const question = 'Join token (not shown): \n';

test('what is typed is the token, without the spaces around it, and is shown nowhere', async () => {
  const { token, shown, modes } = await typing(' cgj_0123 \r');
  expect(token).toBe('cgj_0123');
  expect(shown).toBe(question);
  // Else the terminal itself would show it.
  expect(modes).toEqual([true, false]);
});

test.each([
  ['nothing', '\r'],
  ['spaces', '  \r'],
  ['Ctrl-C', 'cgj_0\u0003'],
  ['Ctrl-D', '\u0004'],
])('%s is no token, and leaves the terminal as it was', async (_what, keys) => {
  expect(await typing(keys)).toEqual({ token: undefined, shown: question, modes: [true, false] });
});

test('where there is no terminal nothing is asked', async () => {
  expect(await typing('cgj_0123\r', false)).toEqual({ token: undefined, shown: '', modes: [] });
});
