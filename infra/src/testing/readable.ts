/**
 * A plan as a person reads it: one resource after another, `key: value`, with user data unpacked into the names of its
 * files, and secrets as what they are.
 */
import { gunzipSync } from 'node:zlib';
import { type Plan, SecretValue } from './plan.ts';

interface PackedFile {
  readonly path: string;
  readonly permissions: string;
  readonly content: string;
}

/** User data as a cloud takes it: as text, in base64, or that compressed; undefined: it is none. */
export const userDataIn = (text: string): string | undefined => {
  if (text.startsWith('#cloud-config')) return text;
  const bytes = Buffer.from(text, 'base64');
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const plain = (isPacked ? gunzipSync(bytes) : bytes).toString();
  return plain.startsWith('#cloud-config') ? plain : undefined;
};

/** The files of a host's user data, by their paths. */
export const filesOf = (userData: string): Readonly<Record<string, string>> => {
  const plain = userDataIn(userData) ?? '';
  const { write_files } = JSON.parse(plain.replace(/^#cloud-config\n/, '')) as { write_files: PackedFile[] };
  return Object.fromEntries(
    write_files.map(({ path, content }) => [path, gunzipSync(Buffer.from(content, 'base64')).toString()]),
  );
};

const lengthMax = 400;

const oneLine = (text: string): string => {
  if (userDataIn(text) !== undefined) return `<user data: ${Object.keys(filesOf(text)).join(' ')}>`;
  return text.length > lengthMax ? '<a long text>' : text;
};

/** One secret in a list makes all of it secret: its shape is shown all the same, and no text of a secret. */
const lines = (value: unknown, secrets: readonly string[]): readonly string[] => {
  if (value instanceof SecretValue) {
    const [first = '', ...rest] = lines(value.value, secrets);
    return rest.length === 0 ? [`<secret> ${first}`] : ['<secret>', first, ...rest];
  }
  if (typeof value === 'string') return [secrets.includes(value) ? '...' : oneLine(value)];
  if (typeof value !== 'object' || value === null) return [String(value)];
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  if (entries.length === 0) return [isList ? '[]' : '{}'];
  if (!isList) entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.flatMap(([key, each]) => {
    const name = isList ? '-' : `${key}:`;
    const [first = '', ...rest] = lines(each, secrets);
    const isNested =
      each instanceof SecretValue
        ? rest.length > 0
        : typeof each === 'object' && each !== null && Object.keys(each).length > 0;
    if (!isNested) return [`${name} ${first}`];
    return [name, ...[first, ...rest].map((line) => `  ${line}`)];
  });
};

export const readable = ({ target, resources, outputs }: Plan, secrets: readonly string[]): string =>
  [
    `# The stack ${target}`,
    '',
    ...resources.flatMap(({ type, name, inputs }) => [
      `${type} ${name}`,
      ...lines(inputs, secrets).map((line) => `  ${line}`),
      '',
    ]),
    'outputs',
    ...lines(outputs, secrets).map((line) => `  ${line}`),
    '',
  ].join('\n');
