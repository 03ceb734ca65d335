/** What `parseArgs` complains of, as the commands say it: its first sentence, and where to read on. */
import { UserError } from './terminal.ts';

/** `example` shows where options go: npm keeps those before a "--" and hands on their values alone. */
export const wrongArguments = (thrown: unknown, command: string, example: string): UserError => {
  const [told = ''] = (thrown instanceof Error ? thrown.message : String(thrown)).split('. ');
  const isPositional =
    thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL';
  const hint = isPositional ? ` Options go after "--": ${example}.` : '';
  return new UserError(`${told}.${hint} See "cgn ${command} --help".`, 2);
};
