/**
 * Finds a model's prompt profile by rendering conversations through its engine, once per served model. Two rules: a
 * canonical form may leave out or change only what was seen to leave the rendered prompt as it is, and the profile that
 * comes out must hold for every pair of a set of probes, else it is weakened until it does. Agent only; talks to the
 * engine through the function that it is given.
 */
import type { JsonRecord } from '../shape.ts';
import { alignBlocks, type RenderFacts } from './align.ts';
import { canonicalBytes } from './canonical.ts';
import type { PromptRequest } from './layout.ts';
import type { PartKind } from './parts.ts';
import * as probes from './probes.ts';
import {
  type HeadField,
  headFields,
  type ProfileFacts,
  type PromptProfile,
  plainProfile,
  profileOf,
  type ReasoningField,
  type ReasoningRule,
  reasoningFields,
  type TextRole,
  textRoles,
} from './profile.ts';
import { sharedLength } from './shared-length.ts';
import { type ToolText, toolTextOf, toolTextScopes, toolTextStyles } from './tool-text.ts';

/**
 * The prompt that the engine makes of `{messages, tools?, ...}`, generation prompt and all; undefined when its template
 * refuses them. Must reject when the engine could not be asked: what is not known must not look like a refusal.
 */
export type RenderPrompt = (body: JsonRecord) => Promise<string | undefined>;

export interface DerivedProfile {
  readonly profile: PromptProfile;
  readonly facts: RenderFacts;
}

const path = '/v1/chat/completions';
const { word, says, calls, result, tools } = probes;
type Varied = ReturnType<typeof probes.reasons>;

/** Asks about the template; each conversation is rendered once. */
class Prober {
  readonly #render: RenderPrompt;
  readonly #rendered = new Map<string, Promise<string | undefined>>();

  constructor(render: RenderPrompt) {
    this.#render = render;
  }

  render(body: JsonRecord): Promise<string | undefined> {
    const key = JSON.stringify(body);
    const rendered = this.#rendered.get(key) ?? this.#render(body);
    this.#rendered.set(key, rendered);
    return rendered;
  }

  /** Whether two bodies give the same prompt; undefined when the template refuses one. */
  async areSame(left: JsonRecord, right: JsonRecord): Promise<boolean | undefined> {
    const [one, other] = [await this.render(left), await this.render(right)];
    return one === undefined || other === undefined ? undefined : one === other;
  }

  /** Whether all pairs that the template accepts are the same, and it accepts one. */
  async areAllSame(pairs: readonly (readonly [JsonRecord, JsonRecord])[]): Promise<boolean> {
    const answers = await Promise.all(pairs.map(([left, right]) => this.areSame(left, right)));
    const known = answers.filter((answer) => answer !== undefined);
    return known.length > 0 && known.every((answer) => answer);
  }

  /** Where words first stand in a prompt, in the order asked; -1 for one that does not. Undefined when refused. */
  async places(body: JsonRecord, ...names: string[]): Promise<number[] | undefined> {
    const text = await this.render(body);
    return text === undefined ? undefined : names.map((name) => text.indexOf(word(name)));
  }
}

const { system, user, answer, nextUser } = probes;
const talk = (...messages: readonly JsonRecord[]): JsonRecord => ({ messages });
const toolTalk = (...messages: readonly JsonRecord[]): JsonRecord => ({ messages, tools });

const systemPlace = async (prober: Prober): Promise<ProfileFacts['system']> => {
  const places = await prober.places(talk(system, user, answer, nextUser), 'system', 'user');
  const [systemAt = -1, userAt = -1] = places ?? [];
  if (systemAt < userAt) return 'first';
  const turn = await prober.places(talk(system, user, calls(null), result(word('result'))), 'system');
  return turn?.[0] === -1 ? 'last-message' : 'last-user';
};

const laterSystemPlace = async (prober: Prober): Promise<ProfileFacts['laterSystem']> => {
  const later = says('system', word('later'));
  const places = await prober.places(talk(system, user, answer, later, nextUser), 'later', 'user');
  const [laterAt = 0, userAt = 0] = places ?? [];
  return laterAt < userAt ? 'first' : 'in-place';
};

const toolsPlace = async (prober: Prober): Promise<ProfileFacts['tools']> => {
  const conversation = [user, answer, nextUser];
  if (await prober.areSame(talk(...conversation), toolTalk(...conversation))) return 'left-out';
  const places = await prober.places(toolTalk(...conversation), 'tool', 'user', 'answer', 'next');
  const [toolAt = -1, userAt = -1, answerAt = -1, nextAt = -1] = places ?? [];
  if (places === undefined || toolAt < 0) return 'unknown';
  if (toolAt < userAt) return 'first';
  return toolAt > answerAt && toolAt < nextAt ? 'last-user' : 'unknown';
};

const areToolsBeforeSystem = async (prober: Prober): Promise<boolean> => {
  const places = await prober.places(toolTalk(system, user), 'tool', 'system');
  const [toolAt = -1, systemAt = -1] = places ?? [];
  return toolAt >= 0 && toolAt < systemAt;
};

/** Conversations in which a text of the role stands, first and later in the prompt. */
const withText = (role: TextRole, content: unknown): readonly JsonRecord[] => {
  const message = says(role, content);
  if (role === 'system') return [talk(message, user), toolTalk(message, user, answer, nextUser)];
  if (role === 'user') return [talk(message), toolTalk(message), talk(message, answer, nextUser)];
  if (role === 'assistant') return [talk(user, message, nextUser), toolTalk(user, message, nextUser)];
  return [
    toolTalk(user, calls(null), result(content)),
    toolTalk(user, calls(null), result(content), answer, nextUser),
  ];
};

const paired = (left: readonly JsonRecord[], right: readonly JsonRecord[]) =>
  left.map((body, index): readonly [JsonRecord, JsonRecord] => [body, right[index] ?? {}]);

const isTrimmed = (prober: Prober, role: TextRole): Promise<boolean> =>
  prober.areAllSame(paired(withText(role, word('text')), withText(role, ` \n\t${word('text')} \n\n `)));

/** An answer right behind a tool's result. */
const afterResult = (said: Varied): readonly [JsonRecord, JsonRecord] => {
  const inTurn = (message: JsonRecord): JsonRecord =>
    toolTalk(user, calls(null), result(word('result')), message, nextUser);
  return [inTurn(said.without), inTurn(said.with)];
};

const keepsThinkAfterResult = async (prober: Prober): Promise<boolean> =>
  (await prober.areSame(...afterResult(probes.reasons('inline', answer)))) === false;

const reasoningRule = async (prober: Prober, field: ReasoningField): Promise<ReasoningRule> => {
  const said = probes.reasons(field, answer);
  const called = probes.reasons(field, calls(word('calling')));
  const ran = result(word('result'));
  const isDroppedLater = await prober.areAllSame([
    [talk(user, said.without, nextUser), talk(user, said.with, nextUser)],
    [
      toolTalk(user, called.without, ran, answer, nextUser),
      toolTalk(user, called.with, ran, answer, nextUser),
    ],
  ]);
  if (!isDroppedLater) return 'kept';
  const isDroppedNow = await prober.areAllSame([
    [toolTalk(user, called.without, ran), toolTalk(user, called.with, ran)],
    [talk(user, said.without), talk(user, said.with)],
  ]);
  return isDroppedNow ? 'dropped' : 'after-last-user';
};

const trimsAfterThink = (prober: Prober): Promise<boolean> => {
  const thought = `<think>${word('reasoning')}</think>`;
  const said = (content: string): JsonRecord => talk(user, says('assistant', content), nextUser);
  const text = word('answer');
  return prober.areAllSame([[said(`${thought}${text}`), said(`${thought}\n\n\n${text}`)]]);
};

const dropsCallText = (prober: Prober): Promise<boolean> => {
  const called = (content: string, ...more: readonly JsonRecord[]): JsonRecord =>
    toolTalk(user, calls(content), result(word('result')), ...more);
  return prober.areAllSame([
    [called(word('one')), called(word('other'))],
    [called(word('one'), answer, nextUser), called(word('other'), answer, nextUser)],
  ]);
};

/** With white space at their edges, because a template that trims each part joins them differently from one text. */
const partSeparator = async (prober: Prober): Promise<string | undefined> => {
  const texts = [` ${word('one')} `, ` ${word('other')} `];
  const listed = texts.map((text) => ({ type: 'text', text }));
  for (const separator of ['\n', '', ' ', '\n\n']) {
    const pairs = (['user', 'system', 'assistant'] as const).flatMap((role) =>
      paired(withText(role, listed), withText(role, texts.join(separator))),
    );
    if (await prober.areAllSame(pairs)) return separator;
  }
  return undefined;
};

const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const headFieldValues: Readonly<Record<HeadField, readonly unknown[]>> = {
  tool_choice: ['none', 'required', { type: 'function', function: { name: word('tool') } }],
  parallel_tool_calls: [true, false],
  json_schema: [schema],
  response_format: [
    { type: 'json_object' },
    { type: 'json_schema', json_schema: { name: 'place', strict: true, schema } },
  ],
  reasoning_effort: ['low', 'high'],
};

/** Whether a field may change the prompt before its last message, or nobody could try. */
const changesHead = async (prober: Prober, field: HeadField): Promise<boolean> => {
  for (const body of [talk(system, user, answer, nextUser), toolTalk(system, user, answer, nextUser)]) {
    const plain = await prober.render(body);
    // A template may refuse tools, or a system text, and then there is nothing to change.
    if (plain === undefined) continue;
    const end = plain.lastIndexOf(word('next')) + word('next').length;
    for (const value of headFieldValues[field]) {
      const text = await prober.render({ ...body, [field]: value });
      if (text?.slice(0, end) !== plain.slice(0, end)) return true;
    }
  }
  return false;
};

const isDeveloperSystem = (prober: Prober): Promise<boolean> => {
  const asRole = (role: string) => says(role, word('system'));
  const bodies = (role: string): readonly JsonRecord[] => [
    talk(asRole(role), user),
    toolTalk(asRole(role), user, answer, nextUser),
    talk(system, user, answer, asRole(role), nextUser),
  ];
  return prober.areAllSame(paired(bodies('developer'), bodies('system')));
};

const isVerbatim = async (prober: Prober, role: TextRole): Promise<boolean> => {
  const text = probes.trickyText('text');
  const rendered = await Promise.all(withText(role, text).map((body) => prober.render(body)));
  const known = rendered.filter((prompt) => prompt !== undefined);
  return known.length > 0 && known.every((prompt) => prompt.includes(text));
};

/** Whether the template renders the role's text at all: Phi leaves out what tools gave, Gemma refuses a system text. */
const isRendered = async (prober: Prober, role: TextRole): Promise<boolean> => {
  const rendered = await Promise.all(withText(role, word('text')).map((body) => prober.render(body)));
  return rendered.some((prompt) => prompt?.includes(word('text')));
};

const toolTextIn = async (prober: Prober): Promise<ToolText | undefined> => {
  const bodies = [toolTalk(user), toolTalk(system, user, answer, nextUser)];
  const rendered = (await Promise.all(bodies.map((body) => prober.render(body)))).filter(
    (prompt) => prompt !== undefined,
  );
  const forms = toolTextScopes.flatMap((scope) => toolTextStyles.map((style) => ({ scope, style })));
  const isWrittenSo = (form: ToolText): boolean =>
    rendered.length > 0 && rendered.every((prompt) => prompt.includes(toolTextOf(tools[0], form)));
  return forms.find(isWrittenSo);
};

const factsOf = async (prober: Prober): Promise<ProfileFacts> => {
  const trimmed: TextRole[] = [];
  for (const role of textRoles) if (await isTrimmed(prober, role)) trimmed.push(role);
  const reasoning = { ...plainProfile.reasoning };
  for (const field of reasoningFields) reasoning[field] = await reasoningRule(prober, field);
  const changing: HeadField[] = [];
  for (const field of headFields) if (await changesHead(prober, field)) changing.push(field);
  return {
    claims: 'all',
    system: await systemPlace(prober),
    laterSystem: await laterSystemPlace(prober),
    developerIsSystem: await isDeveloperSystem(prober),
    tools: await toolsPlace(prober),
    toolsBeforeSystem: await areToolsBeforeSystem(prober),
    trimmed,
    reasoning,
    trimsAfterThink: await trimsAfterThink(prober),
    keepsThinkAfterResult: reasoning.inline !== 'kept' && (await keepsThinkAfterResult(prober)),
    dropsCallText: await dropsCallText(prober),
    partSeparator: await partSeparator(prober),
    headFields: changing,
  };
};

/** Whether reasoning, where it is rendered, stands there as it is. */
const isReasoningVerbatim = async (prober: Prober, rules: ProfileFacts['reasoning']): Promise<boolean> => {
  const text = probes.trickyText('reasoning');
  const fields = reasoningFields.filter((field) => field !== 'inline' && rules[field] !== 'dropped');
  const bodies = fields.map((field) =>
    toolTalk(user, calls(null, { [field]: text }), result(word('result'))),
  );
  const rendered = await Promise.all(bodies.map((body) => prober.render(body)));
  return rendered.every((prompt) => prompt?.includes(text));
};

const renderFactsOf = async (prober: Prober, rules: ProfileFacts['reasoning']): Promise<RenderFacts> => {
  const verbatim: PartKind[] = ['prompt'];
  for (const role of textRoles) if (await isVerbatim(prober, role)) verbatim.push(role);
  if (await isReasoningVerbatim(prober, rules)) verbatim.push('reasoning');
  return { verbatim, toolText: await toolTextIn(prober) };
};

/** Weaker and weaker: what the claims rest on is given up until they hold. */
const weakened = (facts: ProfileFacts): readonly ProfileFacts[] => [
  facts,
  { ...facts, laterSystem: 'unknown' },
  { ...facts, tools: 'unknown' },
  { ...facts, laterSystem: 'unknown', tools: 'unknown' },
  { ...facts, laterSystem: 'unknown', claims: 'head' },
  { ...facts, laterSystem: 'unknown', tools: 'unknown', claims: 'head' },
];

interface Rendered {
  readonly request: PromptRequest;
  readonly prompt: string;
}

/** Longer than any probe. */
const probeBytesMax = 64 * 1024;

/** Whether what any two of the prompts share in canonical bytes is shared in the rendered prompts. */
export const holdsFor = (
  prompts: readonly Rendered[],
  profile: PromptProfile,
  facts: RenderFacts,
): boolean => {
  const aligned = prompts.map(({ request, prompt }) => ({
    prompt,
    bytes: canonicalBytes(request, profile, probeBytesMax),
    // Blocks of one byte: where each byte stands.
    covers: alignBlocks({
      request,
      profile,
      facts,
      rendered: prompt,
      blockBytes: 1,
      blocksMax: probeBytesMax,
    })?.covers,
  }));
  // What a template writes before every prompt is not compared for each pair anew.
  const preamble = Math.min(...prompts.map(({ prompt }) => sharedLength(prompt, prompts[0]?.prompt ?? '')));
  for (const [index, left] of aligned.entries()) {
    if (left.covers === undefined) return false;
    for (const right of aligned.slice(0, index)) {
      const shared = sharedLength(left.bytes, right.bytes);
      const claimed = Math.max(left.covers[shared - 1] ?? 0, right.covers?.[shared - 1] ?? 0);
      if (claimed > sharedLength(left.prompt, right.prompt, preamble)) return false;
    }
  }
  return true;
};

const renderAll = async (prober: Prober): Promise<readonly Rendered[]> => {
  const rendered: Rendered[] = [];
  for (const body of probes.pairwiseProbes()) {
    const prompt = await prober.render(body);
    if (prompt !== undefined) rendered.push({ request: { path, body }, prompt });
  }
  return rendered;
};

/**
 * Derives the profile of the template behind `render`. Rejects when the engine cannot be asked or renders not even one
 * user's message. A template that no profile describes gets one that claims nothing.
 */
export const deriveProfile = async (render: RenderPrompt): Promise<DerivedProfile> => {
  const prober = new Prober(render);
  const simplest = await prober.render(talk(user));
  if (!simplest?.includes(word('user'))) throw new Error('the template does not render a user message');
  const found = await factsOf(prober);
  const facts = await renderFactsOf(prober, found.reasoning);
  const prompts = await renderAll(prober);
  const profiles = weakened(found).map(profileOf);
  // The probes' texts are plain words, which stand in any prompt as they are, or are missing from it.
  const written: PartKind[] = ['reasoning'];
  for (const role of textRoles) if (await isRendered(prober, role)) written.push(role);
  const sought = { ...facts, verbatim: written };
  const profile = profiles.find((candidate) => holdsFor(prompts, candidate, sought));
  return { profile: profile ?? profileOf({ ...found, claims: 'none' }), facts };
};
