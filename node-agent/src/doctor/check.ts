/** One thing that the doctor looked at, and what it asks of the host it looks at. Types only. */
import type { TokenizerFiles } from '../truth/render/local/find-tokenizer.ts';

export interface Check {
  /** What was looked at: `edge`, `engine r0: program`. */
  readonly what: string;
  /** `note` is worth knowing and stops nothing. */
  readonly outcome: 'ok' | 'note' | 'failed';
  readonly says: string;
  /** What to do, where something failed. */
  readonly fix?: string;
}

export interface RanProgram {
  /** Undefined when it had to be ended. */
  readonly status: number | undefined;
  /** What it wrote on both outputs, cut. */
  readonly output: string;
}

export interface Answered {
  readonly status: number;
  readonly text: string;
}

/** The host, as far as the doctor looks at it: everything bounded in time and size, nothing rejects. */
export interface Host {
  readonly nodeVersion: string;
  /** Where a program of that name or path is; undefined: nowhere, or it can't be run. */
  readonly find: (program: string) => string | undefined;
  /** A text is why it could not be run. */
  readonly run: (
    program: string,
    argv: readonly string[],
    environment: ReadonlyMap<string, string>,
  ) => Promise<RanProgram | string>;
  /** A text is why there was no answer. `socket`: the path of one, on which it is asked. */
  readonly ask: (
    url: URL,
    headers: Readonly<Record<string, string>>,
    socket?: string,
  ) => Promise<Answered | string>;
  /** Undefined: fine. Else what is wrong, in words. */
  readonly directoryTrouble: (path: string) => string | undefined;
  /** Whether the host whose key lies in the directory has joined that edge. */
  readonly isEnrolled: (directory: string, edge: URL) => boolean;
  /** The pid of an agent that runs on the directory. */
  readonly agentIn: (directory: string) => number | undefined;
  readonly isThere: (path: string) => boolean;
  readonly tokenizerFiles: TokenizerFiles;
  /** That the agent would have, started here. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}
