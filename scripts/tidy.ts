/**
 * The house rules over one source file at a time: which room may import which, how long things may be, which names are
 * banned and what to write instead. Pure: `tidy.test.ts` reads the files and holds what is found against the ratchet.
 */
import { posix } from 'node:path';
import {
  type FunctionSpan,
  findFunctions,
  lineAt,
  type ScannedSource,
  scanSource,
} from './source-scanner.ts';

export interface Violation {
  readonly rule: string;
  readonly path: string;
  readonly line: number;
  /** What is wrong and what to do. */
  readonly message: string;
  /** The ratchet's key and size: today's exceptions may shrink, never grow. */
  readonly key: string;
  readonly size: number;
}

export const functionLinesMax = 70;
export const fileLinesMax = 500;
export const lineCharsMax = 110;
/** Prose: in a comment of its own line, and in tests with their names and examples. */
export const commentLineCharsMax = 120;
/** A test is a list of examples, read one at a time. */
export const testFunctionLinesMax = 120;
export const testFileLinesMax = 800;

/** What each room may import of ours, beside itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  edge: ['protocol'],
  'node-agent': ['protocol'],
  kvcache: ['protocol'],
  'embedded-engine': [],
  // The daemons it starts are programs to it: paths, never modules.
  cli: ['protocol'],
  // With an install of its own: what it needs of the others it reads as files.
  infra: [],
  bench: ['protocol', 'edge', 'node-agent', 'kvcache', 'embedded-engine', 'cli', 'scripts', 'test'],
  test: ['protocol', 'edge', 'node-agent', 'kvcache', 'embedded-engine', 'cli', 'scripts', 'bench', 'infra'],
  // What they write down of a room's tables.
  scripts: ['protocol', 'node-agent', 'kvcache', 'cli'],
};

interface Banned {
  readonly name: string;
  readonly pattern: RegExp;
  readonly instead: string;
  /** Where it is right, with the reason. */
  readonly allowed: (path: string) => boolean;
}

/** Tests, what only tests import, and whole-system runs. */
export const isTest = (path: string): boolean =>
  /\.test\.ts$|^test\/|(?:^|\/)testing\//.test(path) || path.startsWith('scripts/');
const isMeasuring = (path: string): boolean => isTest(path) || path.startsWith('bench/');
const isOneOf =
  (...paths: string[]) =>
  (path: string): boolean =>
    paths.includes(path);

/** Each file here is the one parser of some input, returns a type of its own, and handles what is no JSON. */
const jsonParsers = isOneOf(
  'protocol/src/shape.ts',
  'edge/src/link/carry-request.ts',
  'edge/src/continuity/answer-reader.ts',
  'edge/src/continuity/wire.ts',
  'embedded-engine/src/openai/fields.ts',
);
/** The Worker's only log. */
const consoleUsers = isOneOf('edge/src/error-response.ts');

const banned: readonly Banned[] = [
  {
    name: 'any',
    pattern: /(?<![.\w$'"#])any\b(?!\s*[:(=?.])/g,
    instead: 'write unknown and narrow it, or the type it has',
    allowed: () => false,
  },
  {
    name: 'console.',
    pattern: /\bconsole\s*\./g,
    instead: "log through the room's log file, print through cli/src/terminal.ts",
    allowed: (path) => consoleUsers(path) || isMeasuring(path),
  },
  {
    name: 'wall clock',
    pattern: /\bDate\.now\(|\bperformance\.now\(|\bnew Date\(/g,
    instead: "take a clock from the caller; only the room's clock.ts reads one",
    allowed: (path) => /(?:^|\/)clock\.ts$/.test(path) || isMeasuring(path),
  },
  {
    name: 'Math.random(',
    pattern: /\bMath\.random\(/g,
    instead: 'take a random source from the caller; only rng.ts or random.ts makes one',
    allowed: (path) => /(?:^|\/)(?:rng|random)\.ts$/.test(path),
  },
  {
    name: 'JSON.parse(',
    pattern: /\bJSON\.parse\(/g,
    instead:
      'use parseJsonRecord of protocol/src/shape.ts, or add the parser file to the list in scripts/tidy.ts',
    allowed: (path) => jsonParsers(path) || isMeasuring(path),
  },
];

const bannedInComments: readonly {
  readonly name: string;
  readonly pattern: RegExp;
  readonly instead: string;
}[] = [
  {
    name: 'biome-ignore without a reason',
    pattern: /biome-ignore(?:-\w+)?(?![-\w])(?!\s+[\w/]+:\s*\S)/g,
    instead: 'write "biome-ignore <rule>: <reason>"',
  },
  {
    name: '@ts-ignore',
    pattern: /@ts-(?:ignore|nocheck)\b/g,
    instead: 'use @ts-expect-error with a reason, or fix the type',
  },
];

const badFileNames = /(?:^|\/)(?:utils?|helpers?|managers?|common|misc)\.\w+$/;

/** Engine variants, which node-agent names only in their own files. */
const variantNames = /vllm|sglang|llama[-_. ]?(?:server|cpp)|trt[-_]?llm|tensorrt|ollama/gi;

const violation = (
  rule: string,
  path: string,
  line: number,
  message: string,
  key = path,
  size = 1,
): Violation => ({
  rule,
  path,
  line,
  message,
  key,
  size,
});

const roomOf = (path: string): string => path.split('/')[0] ?? '';

const importPattern = /\b(?:from|import)\s*(?:\(\s*)?'/g;

/** Every module that the file names, static, dynamic or for types only. */
const importsOf = ({ code, source }: ScannedSource): { readonly name: string; readonly at: number }[] =>
  [...code.matchAll(importPattern)].map((match) => {
    const start = match.index + match[0].length;
    return { name: source.slice(start, source.indexOf("'", start)), at: match.index };
  });

const layerProblem = (path: string, name: string): string | undefined => {
  const room = roomOf(path);
  const allowed = mayImport[room];
  if (allowed === undefined) return undefined;
  const isRelative = name.startsWith('.');
  if (!isRelative && !name.startsWith('@cognitora/')) return undefined;
  const target = isRelative
    ? posix.normalize(posix.join(posix.dirname(path), name))
    : name.slice('@cognitora/'.length);
  const targetRoom = roomOf(target);
  if (targetRoom === room) return undefined;
  if (!allowed.includes(targetRoom)) {
    const may = allowed.join(', ') || 'nothing of ours';
    return `${room} may import ${may}; move what both need to protocol, or pass it in`;
  }
  if (isRelative && room !== 'bench' && room !== 'test') {
    const exported = target.replace(/^([^/]+)\/(?:src\/)?(.*)\.ts$/, '@cognitora/$1/$2');
    return `a relative import leaves the room; write '${exported}'`;
  }
  if (target.includes('/testing/') && !isTest(path)) return 'only tests import what is there for tests';
  return undefined;
};

const layerRule = (path: string, scanned: ScannedSource): Violation[] =>
  importsOf(scanned).flatMap(({ name, at }) => {
    const problem = layerProblem(path, name);
    if (problem === undefined) return [];
    return [violation('layers', path, lineAt(scanned.code, at), `'${name}': ${problem}`)];
  });

/** Callbacks that only group tests are as long as what they group. */
const isGroup = ({ name }: FunctionSpan): boolean => /^<(?:describe|suite)\b/.test(name);

const lengthRules = (path: string, { source, code, codeAndStrings }: ScannedSource): Violation[] => {
  const lines = source.replace(/\n$/, '').split('\n');
  const codeLines = codeAndStrings.split('\n');
  const found: Violation[] = [];
  const fileMax = isTest(path) ? testFileLinesMax : fileLinesMax;
  if (lines.length > fileMax) {
    const message = `${lines.length} lines, at most ${fileMax}: split by what each part owns`;
    found.push(violation('file length', path, 1, message, path, lines.length));
  }
  for (const [at, line] of lines.entries()) {
    const isProse = isTest(path) || codeLines[at]?.trim() === '';
    const charsMax = isProse ? commentLineCharsMax : lineCharsMax;
    if (line.length <= charsMax || /https?:\/\//.test(line)) continue;
    found.push(violation('line length', path, at + 1, `${line.length} characters, at most ${charsMax}`));
  }
  const functionMax = isTest(path) ? testFunctionLinesMax : functionLinesMax;
  for (const span of findFunctions(code)) {
    if (span.lines <= functionMax || isGroup(span)) continue;
    const message = `${span.name} has ${span.lines} lines, at most ${functionMax}: name its parts`;
    found.push(violation('function length', path, span.line, message, `${path} ${span.name}`, span.lines));
  }
  return found;
};

const nameRules = (path: string, { code, codeAndStrings, comments }: ScannedSource): Violation[] => {
  const found: Violation[] = [];
  const report = (rule: string, text: string, pattern: RegExp, message: string): void => {
    for (const match of text.matchAll(pattern)) {
      found.push(violation(rule, path, lineAt(text, match.index), message));
    }
  };
  for (const { name, pattern, instead, allowed } of banned) {
    if (!allowed(path)) report(`banned: ${name}`, code, pattern, instead);
  }
  for (const { name, pattern, instead } of bannedInComments) {
    report(`banned: ${name}`, comments, pattern, instead);
  }
  const isProfile = path.startsWith('node-agent/src/engines/profiles/');
  if (path.startsWith('node-agent/src/') && !isProfile && !isTest(path)) {
    report(
      'variant names',
      codeAndStrings,
      variantNames,
      'name an engine only in its file under node-agent/src/engines/profiles/',
    );
  }
  return found;
};

const openingRule = (path: string, source: string): Violation[] => {
  if (isTest(path) || /\.d\.ts$|\.config\.ts$/.test(path)) return [];
  if (/^(?:#![^\n]*\n)?\s*\/\*\*|^(?:#![^\n]*\n)?\s*\/\//.test(source)) return [];
  return [
    violation(
      'opening',
      path,
      1,
      'open with a comment: what the file owns, what it never does, its invariant',
    ),
  ];
};

/** All rules for one TypeScript file. */
export const tidyFile = (path: string, source: string): Violation[] => {
  const scanned = scanSource(source);
  return [
    ...layerRule(path, scanned),
    ...lengthRules(path, scanned),
    ...nameRules(path, scanned),
    ...openingRule(path, source),
  ];
};

/** Written in parts, so that this file does not hold them. */
const machinePaths = new RegExp(`(?<![\\w.~/:-])/(?:${['work', 'root', 'home'].join('|')})/`, 'g');
const toolNames = new RegExp(['studio', 'bench'].map((end) => `farm-${end}`).join('|'), 'g');

/** The rules for every file, whatever its kind. */
export const tidyAnyFile = (path: string, source: string): Violation[] => {
  const found: Violation[] = [];
  if (badFileNames.test(path))
    found.push(violation('file names', path, 1, 'name the file after the one thing it does'));
  for (const [pattern, message] of [
    [machinePaths, 'an absolute path of one machine: take it from configuration, or make it relative'],
    [toolNames, 'a name of the tools around this project: leave it out'],
  ] as const) {
    for (const match of source.matchAll(pattern)) {
      found.push(violation('one machine only', path, lineAt(source, match.index), message));
    }
  }
  return found;
};

/** Today's exceptions: rule -> key -> size. */
export type Ratchet = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** The found sizes per rule and key: the largest of what has a size of its own, else how often it occurs. */
export const sizesOf = (violations: readonly Violation[]): Record<string, Record<string, number>> => {
  const sizes: Record<string, Record<string, number>> = {};
  for (const { rule, key, size } of violations) {
    const ofRule = sizes[rule] ?? {};
    sizes[rule] = ofRule;
    const known = ofRule[key] ?? 0;
    ofRule[key] = size > 1 ? Math.max(known, size) : known + 1;
  }
  return sizes;
};

/** What breaks a rule beyond today's exceptions, and the exceptions that nothing needs any more. */
export const againstRatchet = (violations: readonly Violation[], ratchet: Ratchet): string[] => {
  const sizes = sizesOf(violations);
  const isExcepted = ({ rule, key }: Violation): boolean =>
    (sizes[rule]?.[key] ?? 0) <= (ratchet[rule]?.[key] ?? 0);
  const grown = violations
    .filter((found) => !isExcepted(found))
    .map(({ rule, path, line, message }) => `${path}:${line} ${rule}: ${message}`);
  const stale = Object.entries(ratchet).flatMap(([rule, keys]) =>
    Object.keys(keys)
      .filter((key) => sizes[rule]?.[key] === undefined)
      .map((key) => `scripts/tidy-ratchet.json: "${rule}" "${key}" is no longer needed: remove it`),
  );
  return [...grown, ...stale];
};
