/**
 * Renders and tokenises chats with a model's own files, as the engine would that has them: its template by a Jinja
 * interpreter, its tokenizer without the special tokens that it adds to plain texts, since a template writes its own.
 * Slow (a prompt of 32 k tokens takes half a second), so it runs in a thread of its own.
 */

import { isRecord, type JsonRecord } from '@cognitora/protocol/shape';
import { Template } from '@huggingface/jinja';
import { Tokenizer } from '@huggingface/tokenizers';
import type { ChatInput } from '../../../engines/chat-input.ts';
import type { ModelFiles } from './model-files.ts';
import { templateVariables } from './template-variables.ts';
import { type AddedToken, type TokenisedText, UnitTokens } from './unit-tokens.ts';

/** Of one rendered prompt: half a million tokens. */
const promptCharsMax = 2 * 1024 * 1024;

const addedTokensIn = ({ added_tokens: listed }: JsonRecord): readonly AddedToken[] =>
  Array.isArray(listed)
    ? listed.filter(isRecord).flatMap((token) => {
        const { content } = token;
        return typeof content === 'string' ? [{ ...token, content }] : [];
      })
    : [];

export class LocalPrompts {
  readonly #files: ModelFiles;
  readonly #template: Template;
  readonly #toolTemplate: Template;
  readonly #tokens: UnitTokens;

  /** Throws when a file cannot be understood. */
  constructor(files: ModelFiles) {
    this.#files = files;
    this.#template = new Template(files.template);
    const isOne = files.toolTemplate === files.template;
    this.#toolTemplate = isOne ? this.#template : new Template(files.toolTemplate);
    const tokenizer = new Tokenizer(files.tokenizer, files.config);
    const plain = { skip_special_tokens: false, clean_up_tokenization_spaces: false };
    const encoder = {
      encode: (text: string) => tokenizer.encode(text, { add_special_tokens: false }),
      decode: (ids: readonly number[]) => tokenizer.decode([...ids], plain),
    };
    this.#tokens = new UnitTokens(encoder, addedTokensIn(files.tokenizer));
  }

  /** Undefined: the template refuses it, or nobody knows what the engine would give to the template. */
  render(body: JsonRecord, input: ChatInput): string | undefined {
    const { template, toolTemplate, specialTokens } = this.#files;
    const hasTools = Array.isArray(body.tools);
    const variables = templateVariables(body, input, hasTools ? toolTemplate : template);
    if (variables === undefined) return undefined;
    const chosen = variables.tools === null ? this.#template : this.#toolTemplate;
    const text = refusable(() => chosen.render({ ...specialTokens, ...variables }));
    return text === undefined || text.length > promptCharsMax ? undefined : text;
  }

  /** The same with its tokens. */
  show(body: JsonRecord, input: ChatInput): TokenisedText | undefined {
    const text = this.render(body, input);
    // Half of a surrogate pair is no text that an engine could have read.
    return text?.isWellFormed() ? this.#tokens.tokenise(text) : undefined;
  }
}

/** Templates refuse by raising, and what one does wrong looks alike. */
const refusable = (render: () => string): string | undefined => {
  try {
    return render();
  } catch {
    return undefined;
  }
};
