/**
 * The question for a join token, where a person sits at a terminal: what is typed is not shown, neither by us nor by
 * the terminal itself, which is in raw mode while the question stands. Never keeps the token.
 */
import { createInterface } from 'node:readline/promises';
import { type Readable, Writable } from 'node:stream';

export interface Terminal {
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly output: Writable;
}

const silent = new Writable({ write: (_chunk, _encoding, done) => done() });

/** Undefined: nobody is there to ask, or who is said nothing, as with Ctrl-C. */
export const askJoinToken = async ({ input, output }: Terminal): Promise<string | undefined> => {
  if (input.isTTY !== true) return undefined;
  output.write('Join token (not shown): ');
  const terminal = createInterface({ input, output: silent, terminal: true });
  const answer = await terminal.question('').catch(() => '');
  terminal.close();
  output.write('\n');
  return answer.trim() || undefined;
};
