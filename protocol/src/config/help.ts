/** The options of a schema as `--help` lists them, in lines of at most 110 characters. */
import type { Schema } from './schema.ts';

const textColumn = 26;

/** Words in lines of at most 110 characters, the first one after `head`. */
export const wrapped = (head: string, words: string): string => {
  const indent = ' '.repeat(textColumn);
  const lines: string[] = [];
  let line = head.length < textColumn - 1 ? head.padEnd(textColumn) : `${head}\n${indent}`;
  for (const word of words.split(' ')) {
    const width = line.length - (line.lastIndexOf('\n') + 1);
    if (width + word.length > 110) {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()].join('\n');
};

/** A sentence as one of a list. */
export const sentenceless = (doc: string): string =>
  (doc[0] ?? '').toLowerCase() + doc.slice(1).replace(/\.$/, '');

export const schemaHelp = ({ sections }: Schema): readonly string[] =>
  sections.flatMap(({ keys }) =>
    Object.values(keys).flatMap(({ option, doc, isRequired, says, kind, fallback }) => {
      if (option === undefined) return [];
      const otherwise = says ?? (fallback === undefined ? 'none' : kind.show(fallback()));
      const more = isRequired ? ' (required)' : ` (default: ${otherwise})`;
      return [wrapped(`  --${option[0]} ${option[1]}`, sentenceless(doc) + more)];
    }),
  );
