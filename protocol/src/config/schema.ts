/**
 * The tables that a daemon's configuration is described in: every key once, where it may stand, what it may be, its
 * default and what it is for. The parser, the help and the documentation are made from them. Knows no key by name.
 */
import type { Kind } from './kinds.ts';

export interface Key<Value> {
  readonly kind: Kind<Value>;
  readonly doc: string;
  /** As it stands in the file. */
  readonly example: string;
  readonly isRequired?: true;
  /** Absent: nothing, and `says` tells what that means. */
  readonly fallback?: () => Value;
  /** How the default is written down, where it depends on the host or is none. */
  readonly says?: string;
  /** The daemon's option, and its argument in the help. */
  readonly option?: readonly [name: string, argument: string];
}

/** A value of the key's kind, undefined where it may be absent. */
export type ValueOf<K> =
  K extends Key<infer Value>
    ? K extends { readonly isRequired: true } | { readonly fallback: () => unknown }
      ? Value
      : Value | undefined
    : never;

export type Values<Keys> = { readonly [Name in keyof Keys]: ValueOf<Keys[Name]> };

export type Keys = Readonly<Record<string, Key<unknown>>>;

export const key =
  <Value>(kind: Kind<Value>) =>
  <const Rest extends Omit<Key<Value>, 'kind'>>(rest: Rest): { readonly kind: Kind<Value> } & Rest => ({
    kind,
    ...rest,
  });

export interface Section<Named extends Keys = Keys> {
  /** As its header stands in the file, such as `[log]` or `[[engine]]`; empty at the top. */
  readonly header: string;
  /** Its name: `log`, `engine`. */
  readonly table: string;
  readonly keys: Named;
  /**
   * Each key may be a variable: this, the table's name and its own, in capitals. Absent: none, as for entries of which
   * there are several.
   */
  readonly variablePrefix?: string;
}

export interface Schema {
  readonly sections: readonly Section[];
  /** Where its keys are explained. */
  readonly documentation: string;
  /** The key that names a secret's file, where none fits better. */
  readonly secretKey: string;
}

/** Undefined: the section has none. */
export const variableOf = ({ table, variablePrefix }: Section, name: string): string | undefined =>
  variablePrefix === undefined
    ? undefined
    : [variablePrefix, ...(table === '' ? [] : [table]), name].join('_').toUpperCase();

/** The names of all options, for `parseArgs`. */
export const optionsOf = ({ sections }: Schema): readonly string[] =>
  sections.flatMap(({ keys }) =>
    Object.values(keys).flatMap(({ option }) => (option === undefined ? [] : [option[0]])),
  );
