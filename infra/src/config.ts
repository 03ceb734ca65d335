/**
 * Reads a stack's configuration: what `pulumi config set` wrote becomes a typed value, or all that is wrong with it is
 * told at once, each with the command that mends it. Pure: nothing here knows a cloud. A key that is none is an error,
 * and a secret that was not set as one, too: it would stand in plain text in the stack's file.
 */

/** What `pulumi config` holds of one project: texts by key, and which of them are secret. */
export interface ConfigSource {
  readonly values: Readonly<Record<string, string>>;
  readonly secretKeys: readonly string[];
}

export interface Field<T> {
  /** What it is, for the error of somebody who left it out. */
  readonly what: string;
  readonly example: string;
  readonly isSecret: boolean;
  /** Absent: it is required. */
  readonly otherwise?: { readonly value: T };
  /** The value, or what it must be. */
  readonly read: (text: string) => { readonly value: T } | { readonly mustBe: string };
}

/** Configuration is read into exactly what its table of fields names. */
export type ConfigOf<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};
export type Fields = Readonly<Record<string, Field<unknown>>>;

/** Thrown with every problem on a line of its own. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(`The stack's configuration is wrong:\n${problems.map((each) => `  ${each}`).join('\n')}`);
    this.problems = problems;
  }
}

interface Shape<T> {
  readonly what: string;
  readonly example: string;
  readonly otherwise?: T;
}

const field = <T>(
  { what, example, ...rest }: Shape<T>,
  read: Field<T>['read'],
  isSecret = false,
): Field<T> => ({
  what,
  example,
  isSecret,
  read,
  ...('otherwise' in rest ? { otherwise: { value: rest.otherwise as T } } : {}),
});

/** A text that the pattern matches whole; `mustBe` ends the sentence "must be ...". */
export const text = (shape: Shape<string>, pattern: RegExp, mustBe: string): Field<string> =>
  field(shape, (given) => (pattern.test(given) ? { value: given } : { mustBe }));

/** A text that may be left out. */
export const optionalText = (
  shape: Omit<Shape<never>, 'otherwise'>,
  pattern: RegExp,
  mustBe: string,
): Field<string | undefined> =>
  field<string | undefined>({ ...shape, otherwise: undefined }, (given) =>
    pattern.test(given) ? { value: given } : { mustBe },
  );

export const secret = (shape: Shape<string>, pattern: RegExp, mustBe: string): Field<string> =>
  field(shape, (given) => (pattern.test(given) ? { value: given } : { mustBe }), true);

export const integer = (shape: Shape<number>, least: number, most: number): Field<number> =>
  field(shape, (given) => {
    const value = /^\d{1,9}$/.test(given) ? Number(given) : Number.NaN;
    if (value >= least && value <= most) return { value };
    return { mustBe: `a whole number from ${least} to ${most}` };
  });

export const flag = (shape: Shape<boolean>): Field<boolean> =>
  field(shape, (given) =>
    given === 'true' || given === 'false' ? { value: given === 'true' } : { mustBe: 'true or false' },
  );

export const choice = <T extends string>(shape: Shape<T>, choices: readonly T[]): Field<T> =>
  field(shape, (given) => {
    const value = choices.find((each) => each === given);
    return value === undefined ? { mustBe: `one of ${choices.join(', ')}` } : { value };
  });

/** Values separated by commas, each of which the pattern matches; at most `most` of them. */
export const list = (
  shape: Shape<readonly string[]>,
  pattern: RegExp,
  mustBe: string,
  most: number,
): Field<readonly string[]> =>
  field(shape, (given) => {
    const value = given.split(',').map((each) => each.trim());
    if (value.length <= most && value.every((each) => pattern.test(each))) return { value };
    return { mustBe: `at most ${most} ${mustBe}, separated by commas` };
  });

/** How many characters differ at least, up to a few: enough to name the key that was meant. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, char] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const replaced = (row[j] ?? 0) + (char === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
};

const nearest = (key: string, known: readonly string[]): string =>
  [...known].sort((a, b) => distance(key, a) - distance(key, b))[0] ?? '';

const command = (key: string, { isSecret, example }: Field<unknown>): string =>
  isSecret ? `pulumi config set --secret ${key}` : `pulumi config set ${key} '${example}'`;

const problemsOfKey = (key: string, fields: Fields, source: ConfigSource): readonly string[] => {
  const known = Object.hasOwn(fields, key) ? fields[key] : undefined;
  const given = source.values[key];
  if (known === undefined) {
    const meant = nearest(key, Object.keys(fields));
    return [`${key} is no key of this stack. Did you mean ${meant}? Remove it: pulumi config rm ${key}`];
  }
  if (given === undefined) {
    if (known.otherwise !== undefined) return [];
    return [`${key} is missing: ${known.what}. Set it: ${command(key, known)}`];
  }
  const problems: string[] = [];
  if (known.isSecret && !source.secretKeys.includes(key)) {
    problems.push(`${key} stands in plain text. Set it as a secret, and change it: ${command(key, known)}`);
  }
  const result = known.read(given);
  if ('mustBe' in result) {
    // A secret is not repeated, wherever this is printed.
    const shown = known.isSecret ? 'what it is' : `"${given}"`;
    problems.push(`${key} must be ${result.mustBe}, not ${shown}. Set it: ${command(key, known)}`);
  }
  return problems;
};

/** The configuration, typed. Throws `ConfigError` with everything that is wrong. */
export const parseConfig = <F extends Fields>(fields: F, source: ConfigSource): ConfigOf<F> => {
  const keys = [...new Set([...Object.keys(fields), ...Object.keys(source.values)])];
  const problems = keys.flatMap((key) => problemsOfKey(key, fields, source));
  if (problems.length > 0) throw new ConfigError(problems);
  const entries = Object.entries(fields).map(([key, known]) => {
    const given = source.values[key];
    const result = given === undefined ? known.otherwise : known.read(given);
    return [key, result !== undefined && 'value' in result ? result.value : undefined];
  });
  return Object.fromEntries(entries) as ConfigOf<F>;
};
