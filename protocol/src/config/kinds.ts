/**
 * What a configured value may be: how it is read from TOML or from text, and how that is said in an error and in the
 * documentation. Reads one value at a time; what several have to do with each other is decided elsewhere.
 */
import { isAddress } from '../host-names.ts';
import { nameCharsMax } from '../limits.ts';
import { isRecord } from '../shape.ts';
import * as limits from './limits.ts';

export interface Kind<Value> {
  /** Completes "must be". */
  readonly says: string;
  /** Undefined where the value is none of the kind. */
  readonly read: (value: unknown) => Value | undefined;
  /** An option or a variable holds text: as TOML would have it. */
  readonly ofText: (text: string) => unknown;
  /** How the default is written down. */
  show(value: Value): string;
  /** The value holds something that must not be repeated in an error. */
  readonly mayHide?: (value: unknown) => string | undefined;
}

export const sameText = (text: string): string => text;
export const quoted = (value: unknown): string => JSON.stringify(value);

export const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= limits.textCharsMax && !value.includes('\0');

export const text = (says: string): Kind<string> => ({
  says,
  read: (value) => (isText(value) ? value : undefined),
  ofText: sameText,
  show: quoted,
});

/** What begins with "~/" lies in the home directory, as a shell has it. */
export const path = (of: string, home: () => string): Kind<string> => ({
  ...text(`the path of ${of}`),
  read: (value) => (isText(value) ? withHome(value, home) : undefined),
});

export const withHome = (path: string, home: () => string): string =>
  path.startsWith('~/') ? home() + path.slice(1) : path;

export const name: Kind<string> = {
  says: `a name of at most ${nameCharsMax} characters`,
  read: (value) => (isText(value) && value.length <= nameCharsMax ? value : undefined),
  ofText: sameText,
  show: quoted,
};

export const choice = <Word extends string>(words: readonly Word[]): Kind<Word> => ({
  says: `one of ${words.map(quoted).join(', ')}`,
  read: (value) => words.find((word) => word === value),
  ofText: sameText,
  show: quoted,
});

const urlIn = (value: unknown): URL | undefined =>
  isText(value) && URL.canParse(value) ? new URL(value) : undefined;

/** `instead` says where a secret goes that somebody wrote into the URL. */
export const httpUrl = (example: string, instead: string): Kind<URL> => ({
  says: `a URL such as ${quoted(example)}`,
  read: (value) => {
    const url = urlIn(value);
    return url !== undefined && /^https?:$/.test(url.protocol) ? url : undefined;
  },
  ofText: sameText,
  show: (url) => quoted(url.href),
  mayHide: (value) => {
    const url = urlIn(value);
    // What cannot be read as a URL would be repeated in an error otherwise.
    const isSecret = url === undefined ? String(value).includes('@') : url.username + url.password !== '';
    if (!isSecret) return undefined;
    return `must not hold a user or a password, which every process here can read. ${instead}`;
  },
});

export const wholeNumber = (min: number, max: number): Kind<number> => ({
  says: `a whole number from ${min} to ${max}`,
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
  ofText: Number,
  show: String,
});

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 24 * 3_600_000 } as const;

const unitBytes = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

/** In its largest unit that is whole. */
export const shownSize = (bytes: number): string => {
  const [unit = 'B', of = 1] = Object.entries(unitBytes).findLast(([, each]) => bytes % each === 0) ?? [];
  return bytes === 0 ? '0' : `${bytes / of}${unit}`;
};

/** Bytes as text: a number alone would not say of what. */
export const size = ({
  bytesMin,
  bytesMax = 2 ** 50,
  mayBeNone = false,
}: {
  readonly bytesMin: number;
  readonly bytesMax?: number;
  /** `"0"`, or the number. */
  readonly mayBeNone?: boolean;
}): Kind<number> => ({
  says: `a size such as "4GiB", at least "${shownSize(bytesMin)}"${mayBeNone ? ', or "0" for none' : ''}`,
  read: (value) => {
    if (mayBeNone && (value === 0 || value === '0')) return 0;
    const [, count, unit] = /^(\d{1,12}(?:\.\d{1,3})?) ?([KMGT]iB)$/.exec(isText(value) ? value : '') ?? [];
    const bytes = Math.floor(Number(count) * unitBytes[(unit ?? 'KiB') as keyof typeof unitBytes]);
    return bytes >= bytesMin && bytes <= bytesMax ? bytes : undefined;
  },
  ofText: sameText,
  show: (bytes) => quoted(shownSize(bytes)),
});

/** A length of time as text: a number alone would not say of what. */
export const duration = (msMax: number): Kind<number> => {
  const read = (value: unknown): number | undefined => {
    const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(isText(value) ? value : '') ?? [];
    const ms = Number(count) * unitMs[(unit ?? 's') as keyof typeof unitMs];
    return ms >= 1_000 && ms <= msMax ? ms : undefined;
  };
  const examples = ['90s', '30m', '8h', '2d'].filter((text) => read(text) !== undefined);
  return {
    says: `a time from "1s" to "${shownDuration(msMax)}"${suchAs(examples)}`,
    read,
    ofText: sameText,
    show: (ms) => quoted(shownDuration(ms)),
  };
};

/** Nothing where no example is possible: the two ends show what a time looks like. */
const suchAs = (examples: readonly string[]): string =>
  examples.length === 0
    ? ''
    : `, such as ${examples
        .map(quoted)
        .join(', ')
        .replace(/, ([^,]*)$/, ' or $1')}`;

/** In its largest unit that is whole. */
const shownDuration = (ms: number): string => {
  const [unit = 's', of = 1_000] = Object.entries(unitMs).findLast(([, each]) => ms % each === 0) ?? [];
  return `${ms / of}${unit}`;
};

export const flag: Kind<boolean> = {
  says: 'true or false',
  read: (value) => (typeof value === 'boolean' ? value : undefined),
  ofText: (given) => (given === 'true' ? true : given === 'false' ? false : given),
  show: String,
};

/** At most `max` values of one kind. */
export const list = <Value>(of: Kind<Value>, max: number, says: string): Kind<readonly Value[]> => ({
  says,
  read: (value) => {
    if (!Array.isArray(value) || value.length > max) return undefined;
    const values = value.map(of.read);
    return values.some((each) => each === undefined) ? undefined : (values as Value[]);
  },
  ofText: (given) => (given.trim() === '' ? [] : given.split(',').map((part) => of.ofText(part.trim()))),
  show: (values) => `[${values.map(of.show).join(', ')}]`,
});

/** A TOML table of names and values. */
export const table = <Value>(
  of: (key: string, value: unknown) => Value | undefined,
  max: number,
  says: string,
): Kind<ReadonlyMap<string, Value>> => ({
  says,
  read: (value) => {
    if (!isRecord(value)) return undefined;
    const entries = Object.entries(value).map(([key, each]) => [key, of(key, each)] as const);
    if (entries.length > max || entries.some(([, each]) => each === undefined)) return undefined;
    return new Map(entries as [string, Value][]);
  },
  ofText: sameText,
  show: (values) => (values.size === 0 ? '{}' : `${values.size} entries`),
});

/** Where a server of this host listens; port 0 lets the operating system choose. */
export interface Listen {
  readonly host: string;
  readonly port: number;
}

/** As it is written down. */
export const shownListen = ({ host, port }: Listen): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** An address and a port; undefined for what is neither. */
export const listenIn = (value: unknown): Listen | undefined => {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(isText(value) ? value : '') ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535) return undefined;
  const isFit = bracketed === undefined ? isAddress(host, 4) || host === 'localhost' : isAddress(host, 6);
  return isFit ? { host, port: Number(port) } : undefined;
};

/** `off` switches the server off. */
export const listen: Kind<Listen | 'off'> = {
  says: 'an address and a port such as "127.0.0.1:9400" or "[::1]:0", or "off"',
  read: (value) => (value === 'off' ? 'off' : listenIn(value)),
  ofText: sameText,
  show: (at) => quoted(at === 'off' ? at : shownListen(at)),
};
