/** Any URL that speaks OpenAI's API, a hosted one too: nothing is assumed, all is asked. */
import { behindPrompt } from './continuing.ts';
import type { EngineProfile } from './profile.ts';

export const openai: EngineProfile = {
  name: 'openai',
  launching: undefined,
  health: undefined,
  metrics: undefined,
  kvEvents: undefined,
  renders: undefined,
  handsOver: undefined,
  continues: new Map([behindPrompt]),
  reportsProgress: false,
  reportsCachedTokens: true,
  offloads: { none: ['both'] },
  evidence: [{ kind: 'constructed', from: "OpenAI's reference of its API" }],
};
