/** Redis' patterns of keys: `*`, `?`, `[a-z]`, `[^a]`, `\x`. In time of pattern times key, whatever they hold. Pure. */

interface Token {
  readonly kind: 'any run' | 'one';
  readonly isIt: (char: string) => boolean;
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
  return (char) => ranges.some(([from, to]) => char >= from && char <= to) !== isNot;
};

/** Whether a key is of the pattern. */
export const globOf = (pattern: string): ((key: string) => boolean) => {
  const tokens = tokensOf(pattern);
  return (key) => {
    let at = 0;
    let token = 0;
    // Where the latest run began, and how far it reaches: a mismatch makes it one longer.
    let run = -1;
    let runEnd = 0;
    while (at < key.length) {
      const next = tokens[token];
      if (next?.kind === 'any run') {
        run = token;
        runEnd = at;
        token += 1;
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
};
