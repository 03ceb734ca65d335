/**
 * The process that renders: reads the model's files, then answers one question after the other. Knows no engine, and
 * ends with the agent.
 */
import { runInThisContext } from 'node:vm';
import { messageOf } from '@cognitora/protocol/errors';
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
    return messageOf(thrown);
  }
};

/** Whatever comes in time; one that takes far longer ends, also where no agent is left that would kill it. */
const bounded = (run: () => PromptAnswer, msMax: number): PromptAnswer => {
  Object.assign(globalThis, { run });
  return runInThisContext('run()', { timeout: msMax }) as PromptAnswer;
};

const [directory = '', msMax] = process.argv.slice(2);
// Who asks is gone.
process.once('disconnect', () => process.exit());
const say = (answer: PromptAnswer): void => void process.send?.(answer);

const opened = open(directory);
if (typeof opened === 'string') say({ kind: 'unusable', why: opened });
else {
  process.on('message', (question: PromptQuestion) => {
    say(bounded(() => answerTo(opened, question), Number(msMax)));
  });
  say({ kind: 'loaded' });
}
