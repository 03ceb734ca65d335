/**
 * A child process of the bench's own that speaks over Node's IPC channel: one command, one answer, in order.
 * Ends with its parent. Knows nothing of what the commands mean.
 */
import { type ChildProcess, spawn } from 'node:child_process';

export interface WorkerProcess<Command, Answer> {
  readonly pid: number;
  ask(command: Command): Promise<Answer>;
  /** Ends the process at once. */
  stop(): Promise<void>;
}

interface Pending<Answer> {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** What travels back: the answer, or why there is none; and before it whatever the parent may tell of. */
export type Envelope<Answer> =
  | { readonly answer: Answer }
  | { readonly failed: string }
  | { readonly note: string };

const endOf = (child: ChildProcess): Promise<void> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', () => resolve());
  });

/**
 * Starts `path` (a .ts module that calls `serveCommands`); `enter` is a program that becomes the one behind it. `onNote`
 * hears what the child says with `tellParent`.
 */
export const startWorkerProcess = <Command, Answer>(
  path: string,
  enter: readonly string[] = [],
  onNote: (note: string) => void = () => {},
): WorkerProcess<Command, Answer> => {
  const [program = '', ...words] = [...enter, process.execPath, path];
  const stdio = ['inherit', 'inherit', 'inherit', 'ipc'] as const;
  const child = spawn(program, words, { serialization: 'advanced', stdio: [...stdio] });
  const pending: Pending<Answer>[] = [];
  child.on('message', (message) => {
    const envelope = message as Envelope<Answer>;
    if ('note' in envelope) {
      onNote(envelope.note);
      return;
    }
    const next = pending.shift();
    if ('failed' in envelope) next?.reject(new Error(envelope.failed));
    else next?.resolve(envelope.answer);
  });
  child.once('exit', (code) => {
    for (const { reject } of pending.splice(0)) reject(new Error(`${path} ended with status ${code}`));
  });
  return {
    pid: child.pid ?? 0,
    ask: (command) =>
      new Promise((resolve, reject) => {
        pending.push({ resolve, reject });
        child.send(command as object);
      }),
    stop: async () => {
      child.kill('SIGKILL');
      await endOf(child);
    },
  };
};

/** The child's side: a word on what goes on, before the answer. */
export const tellParent = (note: string): void => {
  process.send?.({ note } satisfies Envelope<never>);
};

/** The child's side: answers each command; ends when the parent does. */
export const serveCommands = <Command, Answer>(handle: (command: Command) => Promise<Answer>): void => {
  const send = (envelope: Envelope<Answer>): void => {
    process.send?.(envelope);
  };
  process.on('message', (message) => {
    handle(message as Command).then(
      (answer) => send({ answer }),
      (thrown: unknown) => send({ failed: thrown instanceof Error ? (thrown.stack ?? '') : String(thrown) }),
    );
  });
  process.once('disconnect', () => process.exit());
};
