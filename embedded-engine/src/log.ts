/**
 * Progress and warnings on stderr: one human line, or one JSON object per line with `--progress-json`.
 * stdout belongs to the single `listening` line. Prompts and completions are never passed to this file.
 */

export interface ProgressEvent {
  readonly event: 'open' | 'generate' | 'download' | 'load' | 'ready' | 'note' | 'warning' | 'error' | 'stop';
  readonly message: string;
  readonly [detail: string]: string | number | boolean | undefined;
}

export type Log = (event: ProgressEvent) => void;

/** Writes to `write` (stderr in the program); `json` chooses the shape of a line. */
export function createLog(write: (line: string) => void, json: boolean): Log {
  if (json) return (event) => write(`${JSON.stringify(event)}\n`);
  return (event) => {
    const mark = event.event === 'warning' || event.event === 'error' ? `${event.event}: ` : '';
    write(`engine: ${mark}${event.message}\n`);
  };
}

/** For a caught value of unknown type: its message, or its text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
