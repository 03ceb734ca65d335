/** `cgn kvcached`: the KV daemon, which ends once what waits is on the disk. */
import { runProgram } from '../run-program.ts';

/** Resolves with the daemon's exit status. */
export const kvcached = (argv: readonly string[]): Promise<number> =>
  runProgram({ name: 'kvcached', program: 'kvcache/src/main.ts', argv, options: { stdio: 'inherit' } });
