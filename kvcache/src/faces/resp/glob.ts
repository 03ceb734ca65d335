/**
 * Redis' patterns of keys: `*`, `?`, `[a-z]`, `[^a]`, `\x`. In time of pattern times key, whatever they hold, and it
 * is told how much that was. Pure.
 */

interface Token {
  readonly kind: 'any run' | 'one';
  readonly isIt: (char: string) => boolean;
}

export interface Glob {
  /** Whether a key is of the pattern. */
  isOf(key: string): boolean;
  /** At single characters, since it was made. */
  readonly looks: number;
}

const tokensOf = (pattern: string): readonly Token[] => {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] ?? '';
    const close = pattern.indexOf(']', at + 1);
    if (char === '*') tokens.push({ kind: 'any run', isIt: () => true });
    else if (char === '?') tokens.push({ kind: 'one', isIt: () => true });
    else if (char === '[' && close !== -1) {
      tokens.push({ kind: 'one', isIt: classOf(pattern.slice(at + 1, close)) });
      at = close;
    } else {
      if (char === '\\' && at + 1 < pattern.length) at += 1;
      const literal = pattern[at];
      tokens.push({ kind: 'one', isIt: (one) => one === literal });
    }
  }
  return tokens;
};

const classOf = (inside: string): ((char: string) => boolean) => {
  const isNot = inside.startsWith('^');
  const ranges: [string, string][] = [];
  for (let at = isNot ? 1 : 0; at < inside.length; at += 1) {
    const from = inside[at] ?? '';
    const to = inside[at + 1] === '-' ? inside[at + 2] : undefined;
    ranges.push([from, to ?? from]);
    if (to !== undefined) at += 2;
  }
  // Each character of a key then costs the same, however long the class is.
  const chars = new Set<string>();
  for (let code = 0; code < 256; code += 1) {
    const char = String.fromCharCode(code);
    if (ranges.some(([from, to]) => char >= from && char <= to)) chars.add(char);
  }
  return (char) => chars.has(char) !== isNot;
};

/** Of keys whose characters are bytes. */
export const globOf = (pattern: string): Glob => {
  const tokens = tokensOf(pattern);
  let looks = 0;
  const isOf = (key: string): boolean => {
    let at = 0;
    let token = 0;
    // Where the latest run began, and how far it reaches: a mismatch makes it one longer.
    let run = -1;
    let runEnd = 0;
    while (at < key.length) {
      looks += 1;
      const next = tokens[token];
      if (next?.kind === 'any run') {
        run = token;
        runEnd = at;
        token += 1;
        if (token === tokens.length) return true;
      } else if (next?.isIt(key[at] ?? '') === true) {
        token += 1;
        at += 1;
      } else if (run >= 0) {
        token = run + 1;
        runEnd += 1;
        at = runEnd;
      } else return false;
    }
    return tokens.slice(token).every(({ kind }) => kind === 'any run');
  };
  return {
    isOf,
    get looks() {
      return looks;
    },
  };
};
