/** For tests: a directory that decides by load alone, and requests whose prompt nobody digested. */

import { Directory, type PromptView } from '../src/directory/directory.ts';
import { leastLoaded } from '../src/policy/least-loaded.ts';

export const leastLoadedDirectory = (): Directory =>
  new Directory({ secret: 1, policy: leastLoaded, askSnapshot: () => 0 });

export const noPrompt: PromptView = { chain: new Uint32Array(), promptTokens: 1, blockTokens: 1 };
