/**
 * The conversations that a template is tried with: each text holds a marker word that occurs nowhere else, so that its
 * place in the rendered prompt tells what the template does. Builders only; `derive.ts` draws the conclusions.
 */
import type { JsonRecord } from '../shape.ts';

/** A word that no template and no other text holds. */
export const word = (name: string): string => `zq${name}qz`;

/** Text with what templates and JSON writers may change. */
export const trickyText = (name: string): string =>
  `{"of": "${word(name)}"} <b>&'é'</b>\nsecond line \\ of ${word(name)}`;

export const says = (role: string, content: unknown, more: JsonRecord = {}): JsonRecord => ({
  role,
  content,
  ...more,
});

export const system = says('system', word('system'));
export const user = says('user', word('user'));
export const answer = says('assistant', word('answer'));
export const nextUser = says('user', word('next'));

/** Nine letters and digits, because some templates insist on that. */
const callId = 'call12345';

/** An assistant's message that calls a tool. */
export const calls = (content: unknown, more: JsonRecord = {}): JsonRecord =>
  says('assistant', content, {
    ...more,
    tool_calls: [
      {
        id: callId,
        type: 'function',
        function: { name: word('called'), arguments: `{"city": "${word('argument')}"}` },
      },
    ],
  });

export const result = (content: unknown): JsonRecord => says('tool', content, { tool_call_id: callId });

export const tool = (name: string): JsonRecord => ({
  type: 'function',
  function: {
    name: word(name),
    description: `Says "é", <b> and ${word(name)} at 20°`,
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', enum: ['a', 'b'] }, days: { type: 'integer', maximum: 7 } },
      required: ['city'],
    },
  },
});

export const tools = [tool('tool')];

/** Reasoning as clients send it back with an answer: the message without it, and with it. */
export const reasons = (
  field: string,
  message: JsonRecord,
): { readonly without: JsonRecord; readonly with: JsonRecord } => {
  if (field !== 'inline') return { without: message, with: { ...message, [field]: word('reasoning') } };
  return {
    without: message,
    with: { ...message, content: `<think>${word('reasoning')}</think>${String(message.content)}` },
  };
};

const turns = (mark: string): readonly (readonly JsonRecord[])[] => {
  const ask = says('user', `${word('user')} one two three ${word(mark)}`);
  const ran = result(`${word('result')} four five six ${word(mark)}`);
  const said = says('assistant', `${word('said')} seven eight ${word(mark)}`);
  const thought = (message: JsonRecord): JsonRecord => ({
    ...message,
    reasoning_content: `${word('thought')} because ${word(mark)}`,
  });
  const called = calls(`${word('calling')} ten ${word(mark)}`);
  // Only their reasoning differs.
  const thoughtCall = thought(calls(word('calling')));
  const inline = says(
    'assistant',
    `<think>\n${word('inline')} ${word(mark)}\n</think>\n\n${word('said')} last`,
  );
  return [
    [ask],
    [ask, answer],
    [ask, answer, nextUser],
    [user, said, nextUser],
    [user, said, nextUser, answer, says('user', word('third'))],
    [user, said, says('system', `${word('later')} ${word(mark)}`), nextUser],
    [user, thought(answer), nextUser],
    [user, inline, nextUser],
    [user, inline, nextUser, answer, says('user', word('third'))],
    [user, called, ran],
    [user, called, ran, called, ran],
    [user, called, ran, answer, nextUser],
    [user, calls(word('calling')), result(word('result')), inline, nextUser],
    [user, thoughtCall, ran],
    [user, thoughtCall, ran, thoughtCall, ran],
    [user, thoughtCall, ran, thought(answer), nextUser],
  ];
};

/**
 * Requests that any two of which may share a beginning: with and without system text and tools, turns that grow, turns
 * that differ in one late word. What a profile says must hold for each pair of them.
 */
export const pairwiseProbes = (): readonly JsonRecord[] => {
  const systems = [[], [system], [says('system', `${word('system')} that differs`)]];
  const toolLists = [{}, { tools }, { tools: [...tools, tool('second')] }];
  const varied = turns('left').flatMap((messages) =>
    systems.flatMap((leading) => toolLists.map((more) => ({ messages: [...leading, ...messages], ...more }))),
  );
  const differing = turns('right').flatMap((messages) => [
    { messages },
    { messages: [system, ...messages], tools },
  ]);
  return [...varied, ...differing];
};
