/**
 * What a person finds who reads the templates: the profiles that derivation must come to. Property tests take these
 * and not the derived ones, because derivation weakens a profile until it holds, and so would hide a fault elsewhere.
 */
import type { DerivedProfile } from '../derive.ts';
import { type ProfileFacts, profileOf } from '../profile.ts';

const common: ProfileFacts = {
  claims: 'all',
  system: 'first',
  laterSystem: 'in-place',
  developerIsSystem: false,
  tools: 'first',
  toolsBeforeSystem: false,
  trimmed: [],
  reasoning: { reasoning_content: 'dropped', reasoning: 'dropped', thinking: 'dropped', inline: 'kept' },
  trimsAfterThink: false,
  keepsThinkAfterResult: false,
  dropsCallText: false,
  partSeparator: '\n',
  headFields: [],
};
const verbatim = ['prompt', 'system', 'user', 'assistant', 'tool', 'reasoning'] as const;
const spacedTool = { scope: 'tool', style: 'spaced' } as const;

export const templateProfiles: Readonly<Record<string, DerivedProfile>> = {
  'Llama 3.1': {
    profile: profileOf({ ...common, trimmed: ['system', 'user', 'assistant'], dropsCallText: true }),
    facts: {
      verbatim: ['prompt', 'system', 'user', 'assistant', 'reasoning'],
      toolText: { scope: 'tool', style: 'indent-4' },
    },
  },
  'Qwen2.5': { profile: profileOf(common), facts: { verbatim, toolText: spacedTool } },
  // It fails at calls without a text beside them, with which the probes ask what tools gave.
  Qwen3: {
    profile: profileOf({
      ...common,
      reasoning: { ...common.reasoning, reasoning_content: 'after-last-user', inline: 'after-last-user' },
      trimsAfterThink: true,
    }),
    facts: { verbatim: ['prompt', 'system', 'user', 'assistant'], toolText: spacedTool },
  },
  'Mistral Nemo': {
    profile: profileOf({
      ...common,
      system: 'last-message',
      tools: 'last-user',
      toolsBeforeSystem: true,
      dropsCallText: true,
    }),
    facts: { verbatim, toolText: undefined },
  },
  'Mistral Small 3.2': {
    profile: profileOf({ ...common, tools: 'last-user', dropsCallText: true, partSeparator: undefined }),
    facts: { verbatim, toolText: spacedTool },
  },
  // It refuses a system text, so that where it would stand means nothing.
  'Gemma 2': {
    profile: profileOf({
      ...common,
      system: 'last-user',
      tools: 'left-out',
      trimmed: ['user', 'assistant'],
    }),
    facts: { verbatim: ['prompt', 'user', 'assistant', 'reasoning'], toolText: undefined },
  },
  'Phi-3.5': {
    profile: profileOf({ ...common, tools: 'left-out' }),
    facts: { verbatim: ['prompt', 'system', 'user', 'assistant', 'reasoning'], toolText: undefined },
  },
  // Of several system texts it writes the last alone, which no profile can say.
  'DeepSeek-R1': {
    profile: profileOf({
      ...common,
      laterSystem: 'unknown',
      tools: 'left-out',
      reasoning: { ...common.reasoning, inline: 'dropped' },
      keepsThinkAfterResult: true,
    }),
    facts: { verbatim, toolText: undefined },
  },
  'GLM-4.6': {
    profile: profileOf({
      ...common,
      toolsBeforeSystem: true,
      trimmed: ['assistant'],
      reasoning: { ...common.reasoning, reasoning_content: 'after-last-user', inline: 'after-last-user' },
      trimsAfterThink: true,
    }),
    facts: { verbatim, toolText: spacedTool },
  },
};
