/**
 * What the canonical bytes of a prompt need to know of a model's chat template: a few facts, found once per served
 * model by the agent (`derive.ts`), sent over the link as JSON, and read here by the one parser. The facts serve one
 * end: two requests with equal canonical bytes render to equal prompts, and where the bytes first differ the prompts
 * do not differ earlier. A fact that nobody has proven has the value that can only make digests share less.
 */
import { utf8 } from '../bytes.ts';
import { FieldReader, type JsonRecord } from '../shape.ts';
import { blake3, hashHex } from './blake3.ts';

/** Whose text a message holds; any other role's text is taken as it is. */
export const textRoles = ['system', 'user', 'assistant', 'tool'] as const;
export type TextRole = (typeof textRoles)[number];

/** Where an assistant's reasoning may stand in a message: in fields of its own, or in the content up to `</think>`. */
export const reasoningFields = ['reasoning_content', 'reasoning', 'thinking', 'inline'] as const;
export type ReasoningField = (typeof reasoningFields)[number];

/** `after-last-user`: rendered only in messages behind the last of the user's, so not once the user has answered. */
export const reasoningRules = ['kept', 'dropped', 'after-last-user'] as const;
export type ReasoningRule = (typeof reasoningRules)[number];

/** Fields of a request that a template may render before the messages, so that nothing is shared when they differ. */
export const headFields = [
  'tool_choice',
  'parallel_tool_calls',
  'response_format',
  'json_schema',
  'reasoning_effort',
] as const;
export type HeadField = (typeof headFields)[number];

export const systemPlaces = ['first', 'last-user', 'last-message'] as const;
export const toolsPlaces = ['first', 'last-user', 'left-out', 'unknown'] as const;
export const laterSystemPlaces = ['in-place', 'first', 'unknown'] as const;
export const claimLevels = ['all', 'head', 'none'] as const;

export interface ProfileFacts {
  /** `head`: only what stands before the first message is claimed; the rest moves when messages are added. */
  readonly claims: (typeof claimLevels)[number];
  /**
   * Where the leading system message is rendered: before all messages (within the first user's turn counts as that),
   * before the text of the last user message, or there only when that is the last message of all.
   */
  readonly system: (typeof systemPlaces)[number];
  /** Where system messages behind the first message are rendered; `unknown`: nothing is claimed of such a request. */
  readonly laterSystem: (typeof laterSystemPlaces)[number];
  readonly developerIsSystem: boolean;
  /** Of a request with tools nothing is claimed when this is `unknown`. */
  readonly tools: (typeof toolsPlaces)[number];
  /** Of the two, when they stand in one place. */
  readonly toolsBeforeSystem: boolean;
  /** White space around these roles' text is not rendered. */
  readonly trimmed: readonly TextRole[];
  readonly reasoning: Readonly<Record<ReasoningField, ReasoningRule>>;
  /** Line breaks behind a `</think>` whose reasoning is dropped are dropped with it. */
  readonly trimsAfterThink: boolean;
  /** The content of an answer right behind a tool's result is rendered with its reasoning. */
  readonly keepsThinkAfterResult: boolean;
  /** Of a message with tool calls only the calls are rendered. */
  readonly dropsCallText: boolean;
  /** What text parts are joined with, when a list of them renders as one text; undefined: they stand apart. */
  readonly partSeparator: string | undefined;
  readonly headFields: readonly HeadField[];
}

export interface PromptProfile extends ProfileFacts {
  /** A hash of the facts: replicas with equal templates share digests, others never do. */
  readonly id: string;
}

/** Counts the ways to write canonical bytes and the facts that they follow: digests of two versions are never equal. */
export const profileVersion = 1;
const separatorCharsMax = 8;

const idOf = (facts: ProfileFacts): string => {
  const listed = [
    facts.claims,
    facts.system,
    facts.laterSystem,
    facts.developerIsSystem,
    facts.tools,
    facts.toolsBeforeSystem,
    facts.trimmed,
    reasoningFields.map((field) => facts.reasoning[field]),
    facts.trimsAfterThink,
    facts.keepsThinkAfterResult,
    facts.dropsCallText,
    facts.partSeparator ?? null,
    facts.headFields,
  ];
  return hashHex(blake3(utf8(JSON.stringify(listed)))).slice(0, 16);
};

/** Lists in one order, each name once: fields are digested in the order in which the profile has them. */
const inOrder = (facts: ProfileFacts): ProfileFacts => ({
  ...facts,
  trimmed: textRoles.filter((role) => facts.trimmed.includes(role)),
  headFields: headFields.filter((field) => facts.headFields.includes(field)),
});

export const profileOf = (facts: ProfileFacts): PromptProfile => {
  const ordered = inOrder(facts);
  return { ...ordered, id: idOf(ordered) };
};

const nothingDropped: ProfileFacts['reasoning'] = {
  reasoning_content: 'kept',
  reasoning: 'kept',
  thinking: 'kept',
  inline: 'kept',
};

/**
 * What most templates do, for a model whose template nobody has looked at: the system message, then tools, then
 * messages as they are. Its digests may claim too much, so trust in them is at most `approximate`.
 */
export const plainProfile: PromptProfile = profileOf({
  claims: 'all',
  system: 'first',
  laterSystem: 'in-place',
  developerIsSystem: true,
  tools: 'first',
  toolsBeforeSystem: false,
  trimmed: [],
  reasoning: nothingDropped,
  trimsAfterThink: false,
  keepsThinkAfterResult: false,
  dropsCallText: false,
  partSeparator: '\n',
  headFields: [...headFields],
});

/** For a template of which nothing can be said: no digests at all. */
export const blindProfile: PromptProfile = profileOf({ ...plainProfile, claims: 'none' });

const listOf = <Choice extends string>(
  reader: FieldReader,
  name: string,
  choices: readonly Choice[],
): readonly Choice[] => {
  const listed = reader.list(name, choices.length);
  return listed.map((value) => {
    const choice = choices.find((candidate) => candidate === value);
    return choice ?? reader.fail(name, `a list of ${choices.join(', ')}`);
  });
};

/** The profile as it crosses the link. */
export const profileMessage = ({ id: _, ...facts }: PromptProfile): JsonRecord => ({
  version: profileVersion,
  ...facts,
});

/**
 * Reads a profile from the link. Throws `protocol_error` for one that breaks the rules. One of a later version is not
 * understood here, so nothing is claimed with it.
 */
export const parseProfile = (record: JsonRecord): PromptProfile => {
  const reader: FieldReader = new FieldReader(record, 'protocol_error', 'A prompt profile');
  if (reader.integer('version', 1, Number.MAX_SAFE_INTEGER) > profileVersion) return blindProfile;
  const reasoning = new FieldReader(reader.record('reasoning'), 'protocol_error', 'A profile: reasoning');
  const separator = record.partSeparator ?? undefined;
  if (separator !== undefined && (typeof separator !== 'string' || separator.length > separatorCharsMax)) {
    return reader.fail('partSeparator', `a string of at most ${separatorCharsMax} characters`);
  }
  return profileOf({
    claims: reader.oneOf('claims', claimLevels),
    system: reader.oneOf('system', systemPlaces),
    laterSystem: reader.oneOf('laterSystem', laterSystemPlaces),
    developerIsSystem: reader.boolean('developerIsSystem'),
    tools: reader.oneOf('tools', toolsPlaces),
    toolsBeforeSystem: reader.boolean('toolsBeforeSystem'),
    trimmed: listOf(reader, 'trimmed', textRoles),
    reasoning: {
      reasoning_content: reasoning.oneOf('reasoning_content', reasoningRules),
      reasoning: reasoning.oneOf('reasoning', reasoningRules),
      thinking: reasoning.oneOf('thinking', reasoningRules),
      inline: reasoning.oneOf('inline', reasoningRules),
    },
    trimsAfterThink: reader.boolean('trimsAfterThink'),
    keepsThinkAfterResult: reader.boolean('keepsThinkAfterResult'),
    dropsCallText: reader.boolean('dropsCallText'),
    partSeparator: separator,
    headFields: listOf(reader, 'headFields', headFields),
  });
};
