/**
 * The options of a run that a person starts: read strictly, and told by `--help` with what the run does. Ends the
 * process where there is nothing to run.
 */
import { parseArgs } from 'node:util';

export interface RunOption {
  /** A whole number from 0, a number, one of some words, any text, or a switch. */
  readonly kind: 'count' | 'number' | 'text' | 'switch' | readonly string[];
  readonly default?: string;
  /** Of a number: with less the run would measure nothing. */
  readonly min?: number;
  readonly about: string;
}

type Values<Options> = {
  readonly [Name in keyof Options]: Options[Name] extends { readonly kind: 'switch' }
    ? boolean
    : Options[Name] extends { readonly default: string }
      ? string
      : string | undefined;
};

const isGood = ({ kind }: RunOption, value: string): boolean => {
  if (kind === 'count') return /^\d{1,15}$/.test(value);
  if (kind === 'number') return Number.isFinite(Number(value)) && Number(value) >= 0 && value.trim() !== '';
  return kind === 'text' || kind === 'switch' || kind.includes(value);
};

const shownOf = (name: string, { kind, default: usual, about }: RunOption): string => {
  const words = { count: ' N', number: ' N', text: ' TEXT', switch: '' };
  const value = typeof kind === 'string' ? words[kind] : ` ${kind.join('|')}`;
  return `  ${`--${name}${value}`.padEnd(28)} ${about}${usual === undefined ? '' : ` (default: ${usual})`}`;
};

/** The values of a command line. `--help` and what is not understood end the process, with words. */
export const readRunOptions = <const Options extends Readonly<Record<string, RunOption>>>(
  command: string,
  about: string,
  options: Options,
): Values<Options> => {
  const help = [command, '', about, '', 'Options', ...Object.entries(options).map((one) => shownOf(...one))];
  const end = (text: string, code: number): never => {
    process[code === 0 ? 'stdout' : 'stderr'].write(`${text}\n`);
    process.exit(code);
  };
  const asked = Object.entries(options).map(([name, { kind, default: usual }]) => {
    const type = kind === 'switch' ? ('boolean' as const) : ('string' as const);
    return [name, { type, ...(usual === undefined ? {} : { default: usual }) }] as const;
  });
  try {
    const { values } = parseArgs({
      options: { ...Object.fromEntries(asked), help: { type: 'boolean' } },
    });
    if (values.help === true) end(help.join('\n'), 0);
    for (const [name, option] of Object.entries(options)) {
      const value = (values as Readonly<Record<string, unknown>>)[name];
      if (typeof value !== 'string') continue;
      if (!isGood(option, value)) throw new Error(`--${name} cannot be ${value}`);
      if (option.min !== undefined && Number(value) < option.min)
        throw new Error(`--${name} is at least ${option.min}, not ${value}`);
    }
    const switches = Object.entries(options).filter(([, { kind }]) => kind === 'switch');
    return { ...Object.fromEntries(switches.map(([name]) => [name, false])), ...values } as Values<Options>;
  } catch (thrown) {
    const [line = ''] = (thrown instanceof Error ? thrown.message : String(thrown)).split('\n', 1);
    return end(`${line}. "${command} --help" lists the options.`, 1);
  }
};
