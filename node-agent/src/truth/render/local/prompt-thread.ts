/** The thread that renders: reads the model's files, then answers one question after the other. Knows no engine. */
import { parentPort, workerData } from 'node:worker_threads';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { ChatInput } from '../../../engines/chat-input.ts';
import { LocalPrompts } from './local-prompts.ts';
import { readModelFiles } from './model-files.ts';

export interface PromptQuestion {
  readonly body: JsonRecord;
  readonly input: ChatInput;
  readonly withTokens: boolean;
}

export type PromptAnswer =
  | { readonly kind: 'loaded' }
  | { readonly kind: 'unusable'; readonly why: string }
  /** Without `ids` where nobody asked for them; without a text where there is none to tell. */
  | {
      readonly kind: 'prompt';
      readonly text: string | undefined;
      readonly ids?: readonly number[];
      readonly ends?: Int32Array;
    };

const answerTo = (prompts: LocalPrompts, { body, input, withTokens }: PromptQuestion): PromptAnswer => {
  if (!withTokens) return { kind: 'prompt', text: prompts.render(body, input) };
  const shown = prompts.show(body, input);
  if (shown === undefined) return { kind: 'prompt', text: undefined };
  const { ids, ends } = shown.tokens;
  return { kind: 'prompt', text: shown.text, ids, ends };
};

const open = (directory: string): LocalPrompts | string => {
  try {
    return new LocalPrompts(readModelFiles(directory));
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
};

const say = (answer: PromptAnswer): void => parentPort?.postMessage(answer);

const prompts = open(String(workerData));
if (typeof prompts === 'string') say({ kind: 'unusable', why: prompts });
else {
  parentPort?.on('message', (question: PromptQuestion) => say(answerTo(prompts, question)));
  say({ kind: 'loaded' });
}
