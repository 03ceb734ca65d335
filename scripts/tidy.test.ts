import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { findFunctions, scanSource } from './source-scanner.ts';
import { againstRatchet, type Ratchet, sizesOf, tidyAnyFile, tidyFile } from './tidy.ts';

const root = new URL('../', import.meta.url);
const paths = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\0')
  .filter((path) => path !== '' && existsSync(new URL(path, root)));
const sourceOf = (path: string): string => readFileSync(new URL(path, root), 'utf8');

test('every file keeps the house rules, but for the exceptions of scripts/tidy-ratchet.json', () => {
  const violations = paths.flatMap((path) => {
    const source = sourceOf(path);
    const found = source.includes('\0') ? [] : tidyAnyFile(path, source);
    return path.endsWith('.ts') ? [...found, ...tidyFile(path, source)] : found;
  });
  const ratchet = JSON.parse(sourceOf('scripts/tidy-ratchet.json')) as Ratchet;
  expect(againstRatchet(violations, ratchet)).toEqual([]);
});

const opening = '/** Owns a thing. */\n';
const rulesBrokenBy = (path: string, source: string): string[] =>
  [...tidyAnyFile(path, source), ...tidyFile(path, source)].map(({ rule, line }) => `${rule} ${line}`);

describe('the rule', () => {
  const broken: [what: string, path: string, source: string, expected: string][] = [
    ['protocol imports no room', 'protocol/src/a.ts', "import { a } from '@cognitora/edge/a';", 'layers 2'],
    [
      'edge imports no agent',
      'edge/src/a.ts',
      "import type { a } from '@cognitora/node-agent/a';",
      'layers 2',
    ],
    ['re-exports count', 'edge/src/a.ts', "export { a } from '../../node-agent/src/a.ts';", 'layers 2'],
    [
      'dynamic imports count',
      'embedded-engine/src/a.ts',
      "const a = await import('@cognitora/protocol/a');",
      'layers 2',
    ],
    ['cli takes daemons as programs', 'cli/src/a.ts', "import { a } from '@cognitora/edge/a';", 'layers 2'],
    [
      'a relative import stays in its room',
      'edge/src/a.ts',
      "import { a } from '../../protocol/src/a.ts';",
      'layers 2',
    ],
    [
      'testing is for tests',
      'edge/src/a.ts',
      "import { a } from '@cognitora/protocol/testing/a';",
      'layers 2',
    ],
    [
      'a function has an end',
      'edge/src/a.ts',
      `const a = () => {\n${'f();\n'.repeat(70)}};`,
      'function length 2',
    ],
    [
      'a method has an end',
      'edge/src/a.ts',
      `class A {\n  b(): void {\n${'f();\n'.repeat(70)}}\n}`,
      'function length 3',
    ],
    [
      'an arrow to a value has an end',
      'edge/src/a.ts',
      `const a = () => [\n${'1,\n'.repeat(70)}];`,
      'function length 2',
    ],
    ['a file has an end', 'edge/src/a.ts', 'f();\n'.repeat(500), 'file length 1'],
    ['a line has an end', 'edge/src/a.ts', `// ${'x'.repeat(118)}`, 'line length 2'],
    ['a line of code has an earlier end', 'edge/src/a.ts', `f('${'x'.repeat(106)}');`, 'line length 2'],
    ['any is banned', 'edge/src/a.ts', 'const a = (b: any) => b;', 'banned: any 2'],
    ['a list of any is banned', 'edge/src/a.test.ts', 'const a = b as any[];', 'banned: any 2'],
    ['console is banned', 'edge/src/a.ts', "\nconsole.log('a');", 'banned: console. 3'],
    ['Date.now is banned', 'edge/src/a.ts', 'Date.now();', 'banned: wall clock 2'],
    ['performance.now is banned', 'cli/src/a.ts', 'performance.now();', 'banned: wall clock 2'],
    ['new Date is banned', 'edge/src/a.ts', 'new Date();', 'banned: wall clock 2'],
    ['Math.random is banned', 'edge/src/a.ts', 'Math.random();', 'banned: Math.random( 2'],
    ['JSON.parse is banned', 'edge/src/a.ts', 'JSON.parse(text);', 'banned: JSON.parse( 2'],
    [
      'biome-ignore needs a rule',
      'edge/src/a.ts',
      '// biome-ignore',
      'banned: biome-ignore without a reason 2',
    ],
    [
      'biome-ignore needs a reason',
      'edge/src/a.ts',
      '// biome-ignore lint/a/b:',
      'banned: biome-ignore without a reason 2',
    ],
    ['@ts-ignore is banned', 'edge/src/a.ts', 'f();\n// @ts-ignore', 'banned: @ts-ignore 3'],
    ['utils is no name', 'edge/src/utils.ts', '', 'file names 1'],
    ['helpers is no name', 'docs/helper.md', '', 'file names 1'],
    [
      'a variant is named in its file',
      'node-agent/src/serve.ts',
      "if (engine === 'vllm') f();",
      'variant names 2',
    ],
    [
      'a variant is named in no other file',
      'node-agent/src/engines/engine.ts',
      "f('vllm');",
      'variant names 2',
    ],
    ['a variant has no identifier elsewhere', 'node-agent/src/a.ts', 'f(isLlamaServer);', 'variant names 2'],
    ['one machine does not matter', 'docs/a.md', `see ${'/work'}/a`, 'one machine only 2'],
    ['one home does not matter', 'a.toml', `path = "${'/home'}/me"`, 'one machine only 2'],
    ['tools have no place', 'README.md', `by farm${'-studio'}`, 'one machine only 2'],
  ];
  test.each(broken)('%s', (_, path, source, expected) => {
    expect(rulesBrokenBy(path, opening + source)).toContain(expected);
  });

  test('a source file opens with a comment', () => {
    expect(rulesBrokenBy('edge/src/a.ts', 'f();')).toEqual(['opening 1']);
    expect(rulesBrokenBy('edge/src/a.test.ts', 'f();')).toEqual([]);
    expect(rulesBrokenBy('cli/src/a.ts', `#!/usr/bin/env node\n${opening}f();`)).toEqual([]);
  });

  const kept: [what: string, path: string, source: string][] = [
    [
      'protocol for all',
      'edge/src/a.ts',
      "import { a } from '@cognitora/protocol/a';\nimport { b } from '../b.ts';",
    ],
    ['every room for bench and test', 'test/a.test.ts', "import { a } from '../edge/src/a.ts';"],
    ['testing for tests', 'edge/src/a.test.ts', "import { a } from '@cognitora/protocol/testing/a';"],
    [
      'names in strings and comments',
      'edge/src/a.ts',
      "f('console.log(', `Date.now( any`); // JSON.parse( any",
    ],
    ['names in regular expressions', 'edge/src/a.ts', "const a = /'console./.test(b);"],
    ['Promise.any', 'edge/src/a.ts', 'await Promise.any(all);'],
    ['clocks in clock.ts, tests and measurements', 'edge/src/clock.ts', 'Date.now();'],
    ['clocks in measurements', 'bench/a.ts', 'performance.now();'],
    ['random in random.ts', 'edge/src/random.ts', 'Math.random();'],
    ['JSON.parse in a parser', 'protocol/src/shape.ts', 'JSON.parse(text);'],
    ['biome-ignore with a reason', 'edge/src/a.ts', '// biome-ignore lint/a/b: the range is the point.'],
    ['variants in comments', 'node-agent/src/a.ts', '// as vLLM does'],
    ['variants in their files', 'node-agent/src/engines/profiles/vllm.ts', "f('vllm');"],
    ['comments of 120 characters', 'edge/src/a.ts', `// ${'x'.repeat(117)}`],
    ['URLs', 'docs/a.md', `https://host${'/home'}/a and ./a${'/work'}/b`],
    [
      'a group of tests of any length',
      'edge/src/a.test.ts',
      `describe('a', () => {\n${'test();\n'.repeat(200)}});`,
    ],
  ];
  test.each(kept)('allows %s', (_, path, source) => {
    expect(rulesBrokenBy(path, opening + source)).toEqual([]);
  });
});

describe('the ratchet', () => {
  const long = (lines: number) =>
    tidyFile('edge/src/a.ts', `${opening}const a = () => {\n${'f();\n'.repeat(lines)}};`);
  const ratchet = { 'function length': { 'edge/src/a.ts a': 90 } };

  test('lets an exception shrink but not grow', () => {
    expect(againstRatchet(long(88), ratchet)).toEqual([]);
    expect(againstRatchet(long(75), ratchet)).toEqual([]);
    expect(againstRatchet(long(89), ratchet)).toHaveLength(1);
    expect(againstRatchet(long(88), {})).toHaveLength(1);
  });

  test('refuses an exception that nothing needs', () => {
    expect(againstRatchet([], ratchet)).toEqual([
      'scripts/tidy-ratchet.json: "function length" "edge/src/a.ts a" is no longer needed: remove it',
    ]);
  });

  test('counts what occurs several times in one file', () => {
    const twice = tidyFile('edge/src/a.ts', `${opening}Math.random();\nMath.random();`);
    expect(sizesOf(twice)).toEqual({ 'banned: Math.random(': { 'edge/src/a.ts': 2 } });
    expect(againstRatchet(twice, { 'banned: Math.random(': { 'edge/src/a.ts': 1 } })).toHaveLength(2);
  });
});

describe('the scanner', () => {
  test('blanks comments and the insides of literals, and keeps every position', () => {
    const source = [
      "const a = 'it\\'s // no comment'; // a comment",
      `const b = \`x \${f(\`y \${"}"} z\`)} /* none */ \${{ c: 1 }.c}\`;`,
      'const d = /[/"]\\/"/g.test(e) / 2; /* two',
      'lines */ const g = "h";',
    ].join('\n');
    const { code, codeAndStrings } = scanSource(source);
    expect(code.length).toBe(source.length);
    expect(code).not.toMatch(/comment|none|two|lines|x |y | z|it/);
    expect(code).toContain('const g = " ";');
    expect(code).toContain('.test(e) / 2;');
    expect(codeAndStrings).toContain('it');
    expect(codeAndStrings).not.toMatch(/a comment|two/);
  });

  test('finds functions of every form with their names and lengths', () => {
    const source = `
      export async function plain<T>(a: T): Promise<T> {
        return a;
      }
      const arrow = async (a: { b: string }): Promise<{ c: number }> => {
        if (a) { f(); }
        return { c: 1 };
      };
      const value = (a: number) => ({
        a,
      });
      function maker<T extends { a: 1 }>(a: T): () => number {
        return () => 1;
      }
      class Box {
        #hidden(
          a: string,
        ): { readonly b: string } | undefined {
          for (const c of a) { f(c); }
        }
        get size(): number { return 1; }
      }
      list.map((item) => {
        while (f(item)) { g(); }
      });
      describe.each(rows)('%s', (row) => {
        f(row);
      });
      const none = { a: f(b), c: d ? f(a) : { e: 1 } };
    `;
    const found = findFunctions(scanSource(source).code).map(({ name, lines }) => `${name} ${lines}`);
    expect(found).toEqual([
      'plain 3',
      'arrow 4',
      'value 3',
      'maker 3',
      '<module> 1',
      '#hidden 5',
      'size 1',
      '<list.map> 3',
      '<describe.each> 3',
    ]);
  });
});
