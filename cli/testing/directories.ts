/** Directories that end with their test. Only tests import it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export const newDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};
