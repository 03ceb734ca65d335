import { describe, expect, test } from 'vitest';
import type { JsonRecord } from '../shape.ts';
import { deriveProfile, holdsFor, type RenderPrompt } from './derive.ts';
import { pairwiseProbes } from './probes.ts';
import { type ProfileFacts, profileOf } from './profile.ts';
import { chatTemplates, renderer } from './testing/chat-templates.ts';
import { templateProfiles } from './testing/template-profiles.ts';

interface Message {
  readonly role: string;
  readonly content?: string | null;
  readonly tool_calls?: readonly unknown[];
}
type Write = (list: readonly Message[], body: JsonRecord) => string;

const line = ({ role, content, tool_calls: calls }: Message): string =>
  `<${role}>${content ?? ''}${calls === undefined ? '' : JSON.stringify(calls)}`;
const lines = (list: readonly Message[]): string => list.map(line).join('\n');
const toolLines = ({ tools }: JsonRecord): string =>
  Array.isArray(tools) ? tools.map((tool) => `${JSON.stringify(tool)}\n`).join('') : '';
const isSystem = ({ role }: Message): boolean => role === 'system';

/** An engine whose template is a function. */
const engine =
  (write: Write): RenderPrompt =>
  async (body) =>
    `${write(body.messages as readonly Message[], body)}\n<assistant>`;

const derived = async (write: Write): Promise<ProfileFacts> => (await deriveProfile(engine(write))).profile;

describe('a template that', () => {
  test('writes everything in order is claimed whole', async () => {
    const { profile, facts } = await deriveProfile(engine((list, body) => toolLines(body) + lines(list)));
    expect(profile).toMatchObject({
      claims: 'all',
      tools: 'first',
      toolsBeforeSystem: true,
      partSeparator: undefined,
    });
    expect(facts).toEqual({
      verbatim: ['prompt', 'system', 'user', 'assistant', 'tool', 'reasoning'],
      toolText: { scope: 'tool', style: 'compact' },
    });
  });

  test('puts the last system message first: nothing is claimed of requests with a later one', async () => {
    const write: Write = (list, body) => {
      const last = list.filter(isSystem).at(-1);
      return `${last?.content ?? ''}\n${toolLines(body)}${lines(list.filter((message) => !isSystem(message)))}`;
    };
    expect(await derived(write)).toMatchObject({ claims: 'all', laterSystem: 'unknown' });
  });

  test('puts tools behind the messages: nothing is claimed of requests with tools', async () => {
    const write: Write = (list, body) => `${lines(list)}\n${toolLines(body)}`;
    expect(await derived(write)).toMatchObject({ claims: 'all', tools: 'unknown' });
  });

  test('says how many turns follow: only what stands before the messages is claimed', async () => {
    const write: Write = (list, body) => {
      const [first, ...rest] = list;
      const head = first !== undefined && isSystem(first) ? [first] : [];
      const turns = list
        .slice(head.length)
        .map((message, at) => `${rest.length - at} to come: ${line(message)}`);
      return `${lines(head)}\n${toolLines(body)}${turns.join('\n')}`;
    };
    expect(await derived(write)).toMatchObject({ claims: 'head', system: 'first', tools: 'first' });
  });

  test('says first how many messages there are: nothing is claimed', async () => {
    const write: Write = (list, body) => `${list.length} messages\n${toolLines(body)}${lines(list)}`;
    expect((await derived(write)).claims).toBe('none');
  });

  test('writes only the last message: of messages nothing is claimed', async () => {
    expect((await derived((list) => lines(list.slice(-1)))).claims).not.toBe('all');
  });

  test('writes texts in its own way: of messages nothing is claimed', async () => {
    expect((await derived((list) => lines(list).replaceAll(' ', '_'))).claims).not.toBe('all');
  });

  test('knows a developer as the system, and later ones in their place', async () => {
    const write: Write = (list, body) =>
      toolLines(body) +
      lines(list.map((message) => (message.role === 'developer' ? { ...message, role: 'system' } : message)));
    expect(await derived(write)).toMatchObject({
      claims: 'all',
      developerIsSystem: true,
      laterSystem: 'in-place',
    });
  });

  test('writes options before the messages has them in its head', async () => {
    const write: Write = (list, body) =>
      `${body.reasoning_effort ?? 'medium'}\n${toolLines(body.tool_choice === 'none' ? {} : body)}${lines(list)}`;
    expect((await derived(write)).headFields).toEqual(['tool_choice', 'reasoning_effort']);
  });

  test('writes options only behind the messages has none', async () => {
    const write: Write = (list, body) =>
      `${toolLines(body)}${lines(list)}\n${JSON.stringify(body.response_format)}`;
    expect((await derived(write)).headFields).toEqual([]);
  });
});

test('an engine that cannot be asked, and one that renders nothing, give no profile', async () => {
  await expect(deriveProfile(() => Promise.reject(new Error('refused connection')))).rejects.toThrow(
    'refused',
  );
  await expect(deriveProfile(async () => undefined)).rejects.toThrow('user message');
  let asked = 0;
  const failing: RenderPrompt = async (body) => {
    asked += 1;
    if (asked > 40) throw new Error('gone');
    return engine((list) => lines(list))(body);
  };
  await expect(deriveProfile(failing)).rejects.toThrow('gone');
});

test('each conversation is rendered once', async () => {
  const seen = new Set<string>();
  let renders = 0;
  await deriveProfile(async (body) => {
    seen.add(JSON.stringify(body));
    renders += 1;
    return engine((list, more) => toolLines(more) + lines(list))(body);
  });
  expect(renders).toBe(seen.size);
  expect(renders).toBeLessThan(400);
});

const kept = { reasoning_content: 'kept', reasoning: 'kept', thinking: 'kept', inline: 'kept' } as const;

/** A fact that is not true of the template, and must be found out by the probes. */
const untrue: readonly [template: string, facts: Partial<ProfileFacts>][] = [
  ['Llama 3.1', { toolsBeforeSystem: true }],
  ['Llama 3.1', { tools: 'left-out' }],
  ['Qwen2.5', { toolsBeforeSystem: true }],
  ['Qwen2.5', { laterSystem: 'first' }],
  ['Qwen2.5', { dropsCallText: true }],
  [
    'Qwen3',
    { reasoning: { reasoning_content: 'dropped', reasoning: 'kept', thinking: 'kept', inline: 'kept' } },
  ],
  [
    'Qwen3',
    { reasoning: { reasoning_content: 'kept', reasoning: 'kept', thinking: 'kept', inline: 'kept' } },
  ],
  ['Mistral Nemo', { tools: 'first' }],
  ['Mistral Nemo', { system: 'first' }],
  ['Mistral Nemo', { system: 'last-user' }],
  ['Mistral Nemo', { toolsBeforeSystem: false }],
  ['Mistral Small 3.2', { tools: 'first' }],
  ['Phi-3.5', { laterSystem: 'first' }],
  ['DeepSeek-R1', { laterSystem: 'in-place' }],
  ['DeepSeek-R1', { laterSystem: 'first' }],
  ['DeepSeek-R1', { keepsThinkAfterResult: false }],
  ['GLM-4.6', { toolsBeforeSystem: false }],
  ['GLM-4.6', { reasoning: { ...kept, reasoning_content: 'dropped' } }],
];

test('a template that leaves out what tools gave is claimed whole all the same', async () => {
  const write: Write = (list) =>
    lines(list.filter(({ role, content }) => role !== 'tool' && content !== null));
  expect(await derived(write)).toMatchObject({ claims: 'all', tools: 'left-out' });
});

test.each(untrue)('the probes refute of %s that %j', (name, facts) => {
  const template = chatTemplates.find((candidate) => candidate.name === name);
  const known = templateProfiles[name];
  if (template === undefined || known === undefined) throw new Error(name);
  const render = renderer(template);
  const prompts = pairwiseProbes().flatMap((body) => {
    const prompt = render(body);
    return prompt === undefined ? [] : [{ request: { path: '/v1/chat/completions', body } as const, prompt }];
  });
  expect(holdsFor(prompts, known.profile, known.facts)).toBe(true);
  expect(holdsFor(prompts, profileOf({ ...known.profile, ...facts }), known.facts)).toBe(false);
});
