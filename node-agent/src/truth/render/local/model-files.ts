/**
 * A model's tokenizer and chat templates out of the files beside its weights: bounded in size, read once, by whoever
 * may wait for a disk. Decides nothing about prompts.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isRecord, type JsonRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { tokenizerFile } from './find-tokenizer.ts';

/** The longest known (vocabularies of 260,000 tokens) have 35 MB. */
const tokenizerBytesMax = 64 * 1024 * 1024;
/** Some list each added token. */
const configBytesMax = 8 * 1024 * 1024;
/** The longest known has 20 kB. */
export const templateBytesMax = 256 * 1024;

export interface ModelFiles {
  readonly tokenizer: JsonRecord;
  readonly config: JsonRecord;
  /** What renders a chat without tools, and one with them. */
  readonly template: string;
  readonly toolTemplate: string;
  /** Variables of every template. */
  readonly specialTokens: JsonRecord;
}

const specialNames = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`);

/** Undefined: it is not there. Throws for what is too long, or no file. */
const textIn = (directory: string, name: string, bytesMax: number): string | undefined => {
  const path = join(directory, name);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  if (!found.isFile() || found.size > bytesMax)
    throw new Error(`${path} is no file of at most ${bytesMax} bytes`);
  return readFileSync(path, 'utf8');
};

const recordIn = (directory: string, name: string, bytesMax: number): JsonRecord | undefined => {
  const text = textIn(directory, name, bytesMax);
  if (text === undefined) return undefined;
  const record = jsonRecordIn(text);
  if (record === undefined) throw new Error(`${join(directory, name)} is no JSON object`);
  return record;
};

/** A text, or a list of `{name, template}`. */
const templatesIn = (value: unknown): ReadonlyMap<string, string> => {
  if (typeof value === 'string') return new Map([['default', value]]);
  const listed = Array.isArray(value) ? value.filter(isRecord) : [];
  return new Map(
    listed.flatMap(({ name, template }) =>
      typeof name === 'string' && typeof template === 'string' ? [[name, template] as const] : [],
    ),
  );
};

const specialTokensIn = (...sources: readonly (JsonRecord | undefined)[]): JsonRecord => {
  const tokens = specialNames.map((name) => {
    const values = sources.map((source) => source?.[name]);
    const texts = values.map((value) => (isRecord(value) ? value.content : value));
    return [name, texts.find((text) => typeof text === 'string')] as const;
  });
  return Object.fromEntries(tokens.filter(([, text]) => text !== undefined));
};

/** Throws with what is missing or cannot be read. */
export const readModelFiles = (directory: string): ModelFiles => {
  const tokenizer = recordIn(directory, tokenizerFile, tokenizerBytesMax);
  if (tokenizer === undefined) throw new Error(`there is no ${join(directory, tokenizerFile)}`);
  const config = recordIn(directory, 'tokenizer_config.json', configBytesMax) ?? {};
  const listed = templatesIn(config.chat_template);
  const own = textIn(directory, 'chat_template.jinja', templateBytesMax);
  const forTools = textIn(directory, 'additional_chat_templates/tool_use.jinja', templateBytesMax);
  const template = own ?? listed.get('default');
  if (template === undefined) throw new Error(`${directory} has no chat template`);
  const toolTemplate = forTools ?? (own === undefined ? listed.get('tool_use') : undefined) ?? template;
  if (Math.max(template.length, toolTemplate.length) > templateBytesMax) {
    throw new Error(`a chat template in ${directory} has more than ${templateBytesMax} characters`);
  }
  const more = recordIn(directory, 'special_tokens_map.json', configBytesMax);
  return { tokenizer, config, template, toolTemplate, specialTokens: specialTokensIn(config, more) };
};
