/**
 * Renders messages with the model's own Jinja template. A model without one is a base model: its messages
 * are joined by line breaks, so that it simply continues the text. Most templates leave a message's `name` out; then it
 * is refused, because a model that is not told the name would answer as if it had been.
 */
import { randomUUID } from 'node:crypto';
import { Template } from '@huggingface/jinja';
import { messageOf } from '../log.ts';
import { invalid, unsupported } from '../openai/errors.ts';
import type { ChatMessage } from '../openai/messages.ts';

export type RenderChat = (messages: readonly ChatMessage[], addGenerationPrompt: boolean) => string;

export function createChatTemplate(
  source: string | undefined,
  specials: { readonly bos: string; readonly eos: string },
): RenderChat {
  if (source === undefined) {
    return (messages) => {
      checkNames(messages, plain);
      return plain(messages);
    };
  }
  const template = new Template(source);
  const render: RenderChat = (messages, addGenerationPrompt) => {
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
  return (messages, addGenerationPrompt) => {
    checkNames(messages, (named) => render(named, addGenerationPrompt));
    return render(messages, addGenerationPrompt);
  };
}

const plain = (messages: readonly ChatMessage[]): string =>
  messages.map((message) => message.content).join('\n');

/** Refuses names that are not in what the model reads: each is looked for under a mark of its own. */
function checkNames(
  messages: readonly ChatMessage[],
  render: (messages: readonly ChatMessage[]) => string,
): void {
  if (messages.every(({ name }) => name === undefined)) return;
  const mark = randomUUID().replaceAll('-', '');
  const markOf = (at: number): string => `${mark}x${at}x`;
  const marked = messages.map((message, at) =>
    message.name === undefined ? message : { ...message, name: markOf(at) },
  );
  // A template may change the case of a name.
  const rendered = render(marked).toLowerCase();
  for (const [at, { name }] of messages.entries()) {
    if (name === undefined || rendered.includes(markOf(at))) continue;
    throw unsupported(
      'messages',
      `"messages[${at}].name": this model's chat template does not tell the model names. ` +
        'Leave it out, or write it into the content.',
    );
  }
}
