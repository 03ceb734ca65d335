/**
 * What a person finds who reads the six templates: the profiles that derivation must come to. Property tests take these
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
  Qwen3: {
    profile: profileOf({
      ...common,
      reasoning: { ...common.reasoning, reasoning_content: 'after-last-user', inline: 'after-last-user' },
      trimsAfterThink: true,
    }),
    facts: { verbatim, toolText: spacedTool },
  },
  Mistral: {
    profile: profileOf({
      ...common,
      system: 'last-message',
      tools: 'last-user',
      toolsBeforeSystem: true,
      dropsCallText: true,
    }),
    facts: { verbatim, toolText: spacedTool },
  },
  Gemma: {
    profile: profileOf({
      ...common,
      tools: 'left-out',
      trimmed: ['user', 'assistant'],
      partSeparator: undefined,
    }),
    facts: { verbatim: ['prompt', 'system', 'user', 'assistant', 'reasoning'], toolText: undefined },
  },
  'DeepSeek-R1': {
    profile: profileOf({
      ...common,
      laterSystem: 'first',
      tools: 'left-out',
      reasoning: { ...common.reasoning, inline: 'dropped' },
      keepsThinkAfterResult: true,
      dropsCallText: true,
    }),
    facts: { verbatim, toolText: undefined },
  },
};
