/** Where this agent tells of itself, for who knows its data directory: `status.json`, there while it runs. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type StatusFile, statusFileName } from '@cognitora/protocol/agent-status';
import { jsonRecordIn } from '@cognitora/protocol/shape';

/** Returns what removes it again, unless it is another agent's by then. */
export const writeStatusFile = (directory: string, file: StatusFile): (() => void) => {
  const path = join(directory, statusFileName);
  const temporary = `${path}.${file.pid}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(file)}\n`, { mode: 0o600 });
  renameSync(temporary, path);
  return () => {
    try {
      if (jsonRecordIn(readFileSync(path, 'utf8'))?.pid === file.pid) rmSync(path, { force: true });
    } catch {
      // Somebody else removed it, or the whole directory.
    }
  };
};
