/** What tests of `cgn recipe up` share: what it answers, and a directory that nothing outlives. */
import { rmSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { temporaryDirectory } from '../cli/run-cgn.ts';
import { leftoversOf } from '../harness/leftovers.ts';

export interface UpAnswer {
  readonly ok: boolean;
  readonly url: string;
  readonly apiKey: string;
  readonly model: string;
  readonly stagesMs: Readonly<Record<string, number>>;
  readonly checks: readonly {
    readonly what: string;
    readonly outcome: string;
    readonly says: string;
    readonly fix?: string;
  }[];
}

/** Gone with its test, and whatever still runs on it. */
export const newDirectory = (): string => {
  const directory = temporaryDirectory();
  onTestFinished(() => {
    for (const { pid } of leftoversOf(directory)) process.kill(pid, 'SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
};
