/**
 * Chat templates of seven model families, as their makers publish them: the texts that llama.cpp keeps in its source,
 * read where `node-llama-cpp` has installed that. They stand under their models' licences, so none is copied here. And
 * the engine's part around them: joining text parts and reading tool calls' arguments as vLLM and llama-server do
 * before they render. Only tests import it.
 */
import { Template } from '@huggingface/jinja';
import { isRecord, type JsonRecord } from '../../shape.ts';
import { llamaCppText } from './llama-cpp-files.ts';

export interface ChatTemplate {
  readonly name: string;
  /** In llama.cpp's `models/templates`, by the model that it was published with. */
  readonly file: string;
  /** Of that model. */
  readonly licence: string;
  /** The template gets content lists as they are; else the engine has joined text parts to one text. */
  readonly readsParts?: true;
  /** It writes a call's arguments as text, so they are not parsed for it. */
  readonly callsAreText?: true;
}

/**
 * What makes each hard for prefixes. Llama: tools within the first user's turn, texts trimmed, text beside tool calls
 * left out. Qwen2.5: a default system text, results of several tools within one turn. Qwen3 and GLM: reasoning of
 * earlier turns left out, in fields or within the content. Mistral Nemo: tools before the last user's turn, the system
 * text within it, so both move. Gemma: no system role, no tools, texts trimmed. Phi: what tools gave is left out.
 * DeepSeek: the last system text first, reasoning never rendered, a turn that begins in the middle of one.
 */
export const chatTemplates: readonly ChatTemplate[] = [
  { name: 'Llama 3.1', file: 'meta-llama-Llama-3.1-8B-Instruct', licence: 'Llama 3.1' },
  { name: 'Qwen2.5', file: 'Qwen-Qwen2.5-7B-Instruct', licence: 'Apache-2.0' },
  { name: 'Qwen3', file: 'Qwen-Qwen3-0.6B', licence: 'Apache-2.0' },
  { name: 'Mistral Nemo', file: 'mistralai-Mistral-Nemo-Instruct-2407', licence: 'Apache-2.0' },
  {
    name: 'Mistral Small 3.2',
    file: 'Mistral-Small-3.2-24B-Instruct-2506',
    licence: 'Apache-2.0',
    readsParts: true,
  },
  { name: 'Gemma 2', file: 'google-gemma-2-2b-it', licence: 'Gemma' },
  { name: 'Phi-3.5', file: 'microsoft-Phi-3.5-mini-instruct', licence: 'MIT' },
  {
    name: 'DeepSeek-R1',
    file: 'deepseek-ai-DeepSeek-R1-Distill-Llama-8B',
    licence: 'MIT',
    callsAreText: true,
  },
  { name: 'GLM-4.6', file: 'GLM-4.6', licence: 'MIT' },
];

const textOf = (part: unknown): string => {
  if (!isRecord(part)) return '';
  return typeof part.text === 'string' ? part.text : '<image>';
};

/** Arguments are an object to the template when they are JSON. */
const withArguments = (call: unknown): unknown => {
  if (!isRecord(call) || !isRecord(call.function)) return call;
  let read: unknown = call.function.arguments;
  try {
    read = JSON.parse(String(read));
  } catch {
    // It stays a string.
  }
  return { ...call, function: { ...call.function, arguments: read } };
};

/** A message as the engine hands it to the template: in UTF-8, which has no halves of surrogate pairs. */
const prepared = (message: unknown, { readsParts, callsAreText }: ChatTemplate): unknown => {
  if (!isRecord(message)) return message;
  const { content, tool_calls: calls } = message;
  const isList = Array.isArray(content) && readsParts === undefined;
  return {
    ...message,
    ...(isList ? { content: content.map(textOf).join('\n') } : {}),
    ...(Array.isArray(calls) && callsAreText === undefined ? { tool_calls: calls.map(withArguments) } : {}),
  };
};

/** The prompt that an engine with this template makes of a request; undefined when the template refuses it. */
export const renderer = (chat: ChatTemplate): ((body: JsonRecord) => string | undefined) => {
  const template = new Template(llamaCppText(`models/templates/${chat.file}.jinja`));
  return ({ messages, tools, chat_template_kwargs: more }) => {
    const listed: readonly unknown[] = Array.isArray(messages) ? messages : [];
    try {
      return template.render({
        ...(isRecord(more) ? more : {}),
        messages: listed.map((message) => prepared(message, chat)),
        ...(Array.isArray(tools) && tools.length > 0 ? { tools } : {}),
        add_generation_prompt: true,
        bos_token: '<s>',
        eos_token: '</s>',
      });
    } catch {
      return undefined;
    }
  };
};
