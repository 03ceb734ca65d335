/**
 * Conversations as clients send them, for property tests: with tools, reasoning, parts, system texts where they do not
 * belong; texts made of few words, so that one text often occurs within another; and pairs that share a beginning.
 */
import fc from 'fast-check';
import type { JsonRecord } from '../../shape.ts';

/** Words that templates also write, or take apart, or that encoders trip on. */
const pieces = [
  ...[
    'a',
    'b',
    'ok',
    'user',
    'assistant',
    'system',
    'one two ',
    'é',
    '😀',
    '漢字',
    '\0',
    '"',
    '\\',
    '{',
    '}',
  ],
  ...[
    '\n',
    '\n\n',
    ' ',
    '  ',
    '\t',
    '\u3000',
    '<',
    '</s>',
    '[INST]',
    '[/INST]',
    '<|im_end|>',
    '<|im_start|>',
  ],
  ...['<think>', '</think>', '<think>why</think>', '<tool_response>', '</tool_response>', 'result', '[', ']'],
  ...[
    '<|eot_id|>',
    '<start_of_turn>user\n',
    '# Tools',
    '<｜User｜>',
    'You are Qwen, created by Alibaba Cloud. ',
  ],
];

const someText = fc.array(fc.constantFrom(...pieces), { maxLength: 10 }).map((words) => words.join(''));
const longText = fc
  .tuple(
    fc.array(fc.constantFrom(...pieces), { minLength: 1, maxLength: 4 }),
    fc.integer({ min: 1, max: 30 }),
  )
  .map(([words, times]) => words.join(' ').repeat(times));
export const text = fc.oneof({ weight: 4, arbitrary: someText }, { weight: 1, arbitrary: longText });

const parts = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: text.map((value): JsonRecord => ({ type: 'text', text: value })) },
    {
      weight: 1,
      arbitrary: fc
        .constantFrom('https://host/a.png', 'https://host/b.png')
        .map((url): JsonRecord => ({ type: 'image_url', image_url: { url } })),
    },
  ),
  { minLength: 1, maxLength: 3 },
);
const content: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 6, arbitrary: text as fc.Arbitrary<unknown> },
  { weight: 1, arbitrary: parts as fc.Arbitrary<unknown> },
);

const toolOf = (name: string, description: string): JsonRecord => ({
  type: 'function',
  function: { name, description, parameters: { type: 'object', properties: { city: { type: 'string' } } } },
});
const tools = fc
  .array(
    fc.tuple(fc.constantFrom('weather', 'read', 'user'), text).map(([name, said]) => toolOf(name, said)),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  .map((list): JsonRecord => ({ tools: list }));

const callOf = (id: string, argument: string): JsonRecord => ({
  id,
  type: 'function',
  function: { name: 'weather', arguments: JSON.stringify({ city: argument }) },
});
const ids = fc.constantFrom('call12345', 'call67890');

const wrappedResult = text.map((said) => `<tool_response>${said}</tool_response>`);
const user = fc
  .oneof({ weight: 12, arbitrary: content }, { weight: 1, arbitrary: wrappedResult as fc.Arbitrary<unknown> })
  .map((said): JsonRecord => ({ role: 'user', content: said }));
const reasoning = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  { weight: 2, arbitrary: text.map((thought) => ({ reasoning_content: thought })) },
  { weight: 1, arbitrary: text.map((thought) => ({ reasoning: thought })) },
);
const answerText = fc.oneof(
  { weight: 3, arbitrary: text },
  {
    weight: 2,
    arbitrary: fc.tuple(text, text).map(([thought, said]) => `<think>\n${thought}\n</think>\n\n${said}`),
  },
);
export const answer = fc
  .tuple(answerText, reasoning)
  .map(([said, more]): JsonRecord => ({ role: 'assistant', content: said, ...more }));
export const caller = fc
  .tuple(fc.option(answerText, { nil: null }), reasoning, ids, fc.array(text, { minLength: 1, maxLength: 2 }))
  .map(
    ([said, more, id, args]): JsonRecord => ({
      role: 'assistant',
      content: said,
      ...more,
      tool_calls: args.map((argument) => callOf(id, argument)),
    }),
  );
const result = fc
  .tuple(text, ids)
  .map(([said, id]): JsonRecord => ({ role: 'tool', tool_call_id: id, content: said }));

const toolLoop = fc
  .array(fc.tuple(caller, result), { minLength: 1, maxLength: 2 })
  .map((rounds) => rounds.flat());
const strayMessage = fc.oneof(
  text.map((said): JsonRecord => ({ role: 'system', content: said })),
  text.map((said): JsonRecord => ({ role: 'developer', content: said })),
  fc.tuple(text, text).map(([name, said]): JsonRecord => ({ role: 'user', name, content: said })),
);

/** One user's turn, whole. */
const turn = fc
  .tuple(
    user,
    fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 2, arbitrary: toolLoop }),
    answer,
    fc.oneof(
      { weight: 8, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: strayMessage.map((message) => [message]) },
    ),
  )
  .map(([asked, loop, said, stray]) => [asked, ...loop, said, ...stray]);

const leading = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  { weight: 6, arbitrary: text.map((said): JsonRecord[] => [{ role: 'system', content: said }]) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(text, text)
      .map((both) => both.map((said): JsonRecord => ({ role: 'system', content: said }))),
  },
);

/** A conversation of whole turns; requests are cut from it. */
export const messages = fc
  .tuple(leading, fc.array(turn, { minLength: 1, maxLength: 4 }))
  .map(([first, turns]) => [...first, ...turns.flat()]);

const options = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  { weight: 3, arbitrary: tools },
  { weight: 1, arbitrary: fc.constant({ chat_template_kwargs: { enable_thinking: false } }) },
);

export interface ConversationPair {
  readonly left: JsonRecord;
  readonly right: JsonRecord;
}

/** Changes one text of a message: what stands behind the cut is replaced. */
const rewritten = (message: JsonRecord, cut: number, text: string): JsonRecord => {
  const field = typeof message.reasoning_content === 'string' && cut < 0.2 ? 'reasoning_content' : 'content';
  const value = message[field];
  if (typeof value !== 'string') return { ...message, content: text };
  return { ...message, [field]: value.slice(0, Math.floor(cut * value.length)) + text };
};

/** Even, where fast-check would mostly take the ends. */
const fraction = fc.noBias(fc.integer({ min: 0, max: 999 })).map((number) => number / 1000);

/** Rewrites one message, in half of the cases an answer: there templates do most. */
const withChange = (
  list: readonly JsonRecord[],
  change: { readonly where: number; readonly cut: number; readonly said: string; readonly isAnswer: boolean },
): JsonRecord[] => {
  const answers = [...list.keys()].filter((index) => list[index]?.role === 'assistant');
  const from = change.isAnswer && answers.length > 0 ? answers : [...list.keys()];
  const changed = from[Math.floor(change.where * from.length)];
  return list.map((message, index) =>
    index === changed ? rewritten(message, change.cut, change.said) : message,
  );
};

/** Two requests that share a beginning: one cut shorter, one going on in another way, one with other options. */
export const conversationPair: fc.Arbitrary<ConversationPair> = fc
  .record({
    shared: messages,
    others: messages,
    cuts: fc.tuple(fraction, fraction),
    change: fc.option(fc.record({ where: fraction, cut: fraction, said: text, isAnswer: fc.boolean() }), {
      freq: 2,
    }),
    continues: fc.boolean(),
    sharedOptions: options,
    otherOptions: fc.oneof({ weight: 4, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: options }),
    dropsSystem: fraction.map((number) => number < 0.1),
  })
  .map(({ shared, others, cuts, change, continues, sharedOptions, otherOptions, dropsSystem }) => {
    const lengthOf = (cut: number): number => (cut < 0.04 ? 1 : Math.max(2, Math.ceil(cut * shared.length)));
    const left = shared.slice(0, lengthOf(cuts[0]));
    let right = shared.slice(0, lengthOf(cuts[1]));
    if (change !== null) right = withChange(right, change);
    if (continues) right = [...right, ...others.filter(({ role }) => role !== 'system')];
    if (dropsSystem && right[0]?.role === 'system') right = right.slice(1);
    return {
      left: { model: 'm', messages: left, ...sharedOptions },
      right: { model: 'm', messages: right, ...(otherOptions ?? sharedOptions) },
    };
  });
