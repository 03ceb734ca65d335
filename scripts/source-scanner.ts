/**
 * Reads TypeScript just well enough for the house rules, without a parser (typescript 7 has no stable one): blanks out
 * comments and the insides of strings, and finds functions with their length. Expects formatted source that compiles.
 * Where it cannot be sure (a type annotation that looks like a body) it errs by a few lines, never by a hang.
 */

/** A source text and, position for position, the same text with parts blanked out; line breaks stay. */
export interface ScannedSource {
  readonly source: string;
  /** Without comments and without what stands inside strings, templates and regular expressions. */
  readonly code: string;
  /** Without comments alone. */
  readonly codeAndStrings: string;
  /** Nothing but comments. */
  readonly comments: string;
}

/** A `/` after one of these words, or after an operator, begins a regular expression. */
const wordsBeforeRegex = new Set(['return', 'typeof', 'case', 'of', 'in', 'await', 'yield', 'else']);

const isRegexNext = (code: string): boolean => {
  const before = code.trimEnd();
  const word = /[\w$]+$/.exec(before)?.[0];
  if (word !== undefined) return wordsBeforeRegex.has(word);
  return !/[)\]}"'`]$/.test(before);
};

const literalPattern = {
  "'": /'(?:[^'\\\n]|\\[\s\S])*'?/y,
  '"': /"(?:[^"\\\n]|\\[\s\S])*"?/y,
  '/': /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y,
} as const;
const commentPattern = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/y;
/** Template text up to its end or up to the next `${`. */
const templatePattern = /(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{|$)/y;

const matchAt = (pattern: RegExp, source: string, at: number): string => {
  pattern.lastIndex = at;
  return pattern.exec(source)?.[0] ?? '';
};

const blank = (text: string): string => text.replaceAll(/[^\n]/g, ' ');
const blankInside = (text: string): string =>
  text.length < 2 ? text : text.charAt(0) + blank(text.slice(1, -1)) + text.charAt(text.length - 1);

class Blanker {
  readonly #source: string;
  #code = '';
  #codeAndStrings = '';
  #comments = '';
  #at = 0;
  /** For each template under way: how many braces are open inside its `${`. */
  readonly #templates: number[] = [];

  constructor(source: string) {
    this.#source = source;
  }

  run(): ScannedSource {
    while (this.#at < this.#source.length) this.#step();
    return {
      source: this.#source,
      code: this.#code,
      codeAndStrings: this.#codeAndStrings,
      comments: this.#comments,
    };
  }

  #step(): void {
    const character = this.#source.charAt(this.#at);
    const comment = character === '/' ? matchAt(commentPattern, this.#source, this.#at) : '';
    if (comment !== '') this.#take(comment, blank(comment), blank(comment), comment);
    else if (character === "'" || character === '"') this.#literal(literalPattern[character]);
    else if (character === '/' && isRegexNext(this.#code.slice(-40))) this.#literal(literalPattern['/']);
    else if (character === '`') this.#template();
    else this.#plain(character);
  }

  #take(text: string, code: string, codeAndStrings: string, comments = blank(text)): void {
    this.#code += code;
    this.#codeAndStrings += codeAndStrings;
    this.#comments += comments;
    this.#at += text.length;
  }

  #literal(pattern: RegExp): void {
    const text = matchAt(pattern, this.#source, this.#at) || this.#source.charAt(this.#at);
    this.#take(text, blankInside(text), text);
  }

  /** A template's text from the quote or from the `}` of a substitution. */
  #template(): void {
    const text = this.#source.charAt(this.#at) + matchAt(templatePattern, this.#source, this.#at + 1);
    if (text.endsWith('${')) this.#templates.push(0);
    const end = text.endsWith('${') ? '${' : text.slice(-1);
    const kept = text.length === 1 ? text : text.charAt(0) + blank(text.slice(1, -end.length)) + end;
    this.#take(text, kept, text);
  }

  #plain(character: string): void {
    const depth = this.#templates.length - 1;
    const open = this.#templates[depth];
    if (character === '}' && open === 0) {
      this.#templates.pop();
      this.#template();
      return;
    }
    if (open !== undefined && character === '{') this.#templates[depth] = open + 1;
    if (open !== undefined && character === '}') this.#templates[depth] = open - 1;
    this.#take(character, character, character);
  }
}

export const scanSource = (source: string): ScannedSource => new Blanker(source).run();

/** The line of a position, from 1. */
export const lineAt = (text: string, at: number): number => text.slice(0, at).split('\n').length;

export interface FunctionSpan {
  /** As declared, or the call it is passed to in angle brackets. */
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

/** Words before `(` that begin no function. */
const controlWords = new Set(['if', 'for', 'while', 'switch', 'catch', 'with', 'return', 'await', 'typeof']);
const closers: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' };

/** The position of the bracket that closes the one at `open`; the end of the text when none does. */
const closingOf = (code: string, open: number): number => {
  const expected: string[] = [];
  for (let at = open; at < code.length; at += 1) {
    const character = code.charAt(at);
    const closer = closers[character];
    if (closer !== undefined) expected.push(closer);
    else if (character === expected.at(-1)) expected.pop();
    if (expected.length === 0) return at;
  }
  return code.length - 1;
};

/** The position of the last character of an expression that starts at `from`. */
const endOfExpression = (code: string, from: number): number => {
  for (let at = from; at < code.length; at += 1) {
    const character = code.charAt(at);
    if (character in closers) at = closingOf(code, at);
    else if (/[,;)\]}]/.test(character)) return at - 1;
  }
  return code.length - 1;
};

const skipSpace = (code: string, from: number): number => {
  let at = from;
  while (/\s/.test(code.charAt(at))) at += 1;
  return at;
};

/**
 * Where the body begins of a function whose parameters end before `from`: `{`, or what follows the `=>` of an arrow.
 * Undefined when what stands there is no function.
 */
const bodyStart = (code: string, from: number, isArrow: boolean): number | undefined => {
  let at = skipSpace(code, from);
  if (code.charAt(at) === ':') at = endOfReturnType(code, at + 1, isArrow);
  if (isArrow && code.startsWith('=>', at)) return skipSpace(code, at + 2);
  return !isArrow && code.charAt(at) === '{' ? at : undefined;
};

/** After a return type: at an arrow's `=>`, another function's `{`, or where it turns out to be something else. */
const endOfReturnType = (code: string, from: number, isArrow: boolean): number => {
  let angles = 0;
  for (let at = from; at < code.length; at += 1) {
    if (code.startsWith('=>', at)) {
      if (isArrow) return at;
      at += 1;
      continue;
    }
    const character = code.charAt(at);
    // A brace that opens the type, or follows one of its operators, is a part of it.
    const opensType = /(?:[:<|&,]|=>)\s*$/.test(code.slice(Math.max(0, at - 40), at));
    if (character === '{' && !opensType) return at;
    if (character in closers) at = closingOf(code, at);
    else if (character === '<') angles += 1;
    else if (character === '>') angles -= 1;
    else if (angles === 0 && /[;=,)\]}?]/.test(character)) return at;
  }
  return code.length;
};

/** The function's name, from the code before its parameters and the call that it is passed to. */
const nameOf = (before: string, call: string): string => {
  const declared =
    /(?:(?:const|let|readonly)\s+|#|\bfunction\s*\*?\s*)?([\w$]+)\s*(?::[^;=]*)?(?:=\s*(?:async\s*)?)$/.exec(
      before,
    ) ??
    /([#\w$]+)\s*(?:<[^()]*>)?$/.exec(before.replace(/(?:=|:)?\s*\basync\s*$/, '')) ??
    /([#\w$]+)\s*:\s*(?:async\s*)?$/.exec(before);
  const name = declared?.[1];
  return name === undefined || controlWords.has(name) || name === 'async' ? `<${call}>` : name;
};

/** Every function of some blanked code, arrows with an expression as their body included. */
export const findFunctions = (code: string): FunctionSpan[] => {
  const found: FunctionSpan[] = [];
  /** What is called with the parentheses that close at a position. */
  const calledAt = new Map<number, string>();
  const around: { readonly called: string; readonly close: number }[] = [];
  const returnTypes: { readonly from: number; readonly to: number }[] = [];
  for (let at = code.indexOf('('); at >= 0; at = code.indexOf('(', at + 1)) {
    if (returnTypes.some(({ from, to }) => at > from && at < to)) continue;
    while ((around.at(-1)?.close ?? Number.POSITIVE_INFINITY) < at) around.pop();
    const before = code.slice(Math.max(0, at - 300), at);
    const head = /([#\w$.]+)(?:<[^()]*>)?\s*$/.exec(before)?.[1] ?? '';
    const close = closingOf(code, at);
    const isArrow = head === '' || head === 'async' || head === 'return';
    const isFunction = isArrow || !controlWords.has(head);
    const start = isFunction ? bodyStart(code, close + 1, isArrow) : undefined;
    const outer = around.at(-1)?.called ?? 'module';
    if (start !== undefined) {
      const end = code.charAt(start) === '{' ? closingOf(code, start) : endOfExpression(code, start);
      const line = lineAt(code, at);
      returnTypes.push({ from: close, to: start });
      found.push({ name: nameOf(before, outer), line, lines: lineAt(code, end) - line + 1 });
    }
    // In `a.each(rows)(name, test)` the second call is one of `a.each` too.
    const called = head || calledAt.get(at - 1) || outer;
    calledAt.set(close, called);
    around.push({ called, close });
  }
  return found;
};
