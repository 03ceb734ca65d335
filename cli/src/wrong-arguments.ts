/** What `parseArgs` complains of, as the commands say it: its first sentence, and where to read on. */
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { messageOf } from '@cognitora/protocol/errors';
import { UserError } from './terminal.ts';

/** `example` shows where options go: npm keeps those before a "--" and hands on their values alone. */
export const wrongArguments = (thrown: unknown, command: string, example: string): UserError => {
  const [told = ''] = messageOf(thrown).split(/\.\s/);
  const isPositional =
    thrown instanceof Error && 'code' in thrown && thrown.code === 'ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL';
  const hint = isPositional ? ` Options go after "--": ${example}.` : '';
  return new UserError(`${told}.${hint} See "cgn ${command} --help".`, 2);
};

/** Throws a `UserError` that names the bounds. */
export const wholeNumber = (text: string, option: string, min: number, max: number): number => {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UserError(`${option} must be a whole number from ${min} to ${max}, not "${text}".`, 2);
};

/** Of `--port`, as `wholeNumber`. */
export const portOf = (text: string): number => wholeNumber(text, '--port', 1, 65_535);

/** A command's words and options. Throws `UserError`, see `wrongArguments`. */
export const argumentsOf = <const Options extends ParseArgsOptionsConfig>(
  argv: readonly string[],
  options: Options,
  command: string,
  example: string,
) => {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: true });
  } catch (thrown) {
    throw wrongArguments(thrown, command, example);
  }
};
