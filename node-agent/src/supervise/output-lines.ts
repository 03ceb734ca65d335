/** An engine's output as whole lines: without colours and the like, cut beyond a bound, so that none fills memory. */
import { StringDecoder } from 'node:string_decoder';
import { logLineCharsMax } from './limits.ts';

// biome-ignore lint/suspicious/noControlCharactersInRegex: what starts with ESC is just what is to be found.
const escapes = /\u001b\[[0-9;?]*[A-Za-z]/g;

export class OutputLines {
  readonly #accept: (line: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #held = '';

  constructor(accept: (line: string) => void) {
    this.#accept = accept;
  }

  /** How many lines it ended. */
  push(bytes: Buffer): number {
    // A progress bar draws itself over and over, with a carriage return: each state is a line.
    const lines = (this.#held + this.#decoder.write(bytes)).split(/[\r\n]+/);
    // What is cut of a line in one piece must not come back as another one: only its beginning is kept.
    this.#held = (lines.pop() ?? '').slice(0, logLineCharsMax);
    for (const line of lines) this.#line(line);
    return lines.length;
  }

  /** Last words may lack a line end. */
  end(): void {
    this.#line(this.#held);
    this.#held = '';
  }

  #line(line: string): void {
    const text = line.slice(0, logLineCharsMax).replaceAll(escapes, '').trimEnd();
    if (text !== '') this.#accept(text);
  }
}
