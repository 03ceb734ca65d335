/** A schema as Markdown: a part for each section's title and each of its keys. Knows no key by name. */
import { type Key, type Schema, type Section, variableOf } from './schema.ts';

const defaultOf = ({ fallback, says, kind, isRequired }: Key<unknown>): string => {
  if (isRequired) return 'Required.';
  if (says !== undefined) return `Default: ${says}.`;
  return `Default: \`${fallback === undefined ? 'none' : kind.show(fallback())}\`.`;
};

const entry = (section: Section, name: string, key: Key<unknown>): string => {
  const variable = variableOf(section, name);
  const ways = [
    ...(key.option === undefined ? [] : [`\`--${key.option[0]} ${key.option[1]}\``]),
    ...(variable === undefined ? [] : [`\`${variable}\``]),
  ];
  const also = ways.length === 0 ? '' : ` Also ${ways.join(' or ')}.`;
  return [
    `### \`${name}\``,
    '',
    `${key.doc} Must be ${key.kind.says}. ${defaultOf(key)}${also}`,
    '',
    '```toml',
    `${name} = ${key.example}`,
    '```',
  ].join('\n');
};

/** The title of a section by its header. */
export const schemaDocument = (
  { sections }: Schema,
  titles: Readonly<Record<string, string>>,
): readonly string[] =>
  sections.flatMap((section) => [
    `## ${titles[section.header] ?? section.header}`,
    ...Object.entries(section.keys).map(([name, key]) => entry(section, name, key)),
  ]);
