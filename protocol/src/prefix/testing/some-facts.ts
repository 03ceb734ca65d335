/**
 * Any facts of a template, true of one or not. Only tests import it.
 */
import fc from 'fast-check';
import {
  claimLevels,
  headFields,
  laterSystemPlaces,
  type ProfileFacts,
  reasoningRules,
  systemPlaces,
  textRoles,
  toolsPlaces,
} from '../profile.ts';

const rule = fc.constantFrom(...reasoningRules);

export const someFacts: fc.Arbitrary<ProfileFacts> = fc.record({
  claims: fc.constantFrom(...claimLevels),
  system: fc.constantFrom(...systemPlaces),
  laterSystem: fc.constantFrom(...laterSystemPlaces),
  developerIsSystem: fc.boolean(),
  tools: fc.constantFrom(...toolsPlaces),
  toolsBeforeSystem: fc.boolean(),
  trimmed: fc.subarray([...textRoles]),
  reasoning: fc.record({ reasoning_content: rule, reasoning: rule, thinking: rule, inline: rule }),
  trimsAfterThink: fc.boolean(),
  keepsThinkAfterResult: fc.boolean(),
  dropsCallText: fc.boolean(),
  partSeparator: fc.option(fc.constantFrom('', '\n', ' '), { nil: undefined }),
  headFields: fc.subarray([...headFields]),
});
