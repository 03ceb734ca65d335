/**
 * Renders messages with the model's own Jinja template. A model without one is a base model: its messages
 * are joined by line breaks, so that it simply continues the text.
 */
import { Template } from '@huggingface/jinja';
import { messageOf } from '../log.ts';
import { invalid } from '../openai/errors.ts';
import type { ChatMessage } from '../openai/messages.ts';

export type RenderChat = (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => string;

export function createChatTemplate(
  source: string | undefined,
  specials: { readonly bos: string; readonly eos: string },
): RenderChat {
  if (source === undefined) return (messages) => messages.map((message) => message.content).join('\n');
  const template = new Template(source);
  return (messages, addGenerationPrompt) => {
    try {
      return template.render({
        messages,
        add_generation_prompt: addGenerationPrompt,
        bos_token: specials.bos,
        eos_token: specials.eos,
      });
    } catch (error) {
      // Templates refuse conversations they do not know by raising an exception with a sentence for the user.
      throw invalid('messages', `The model's chat template refused the messages: ${messageOf(error)}`);
    }
  };
}
