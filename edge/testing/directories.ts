/** For tests: a directory that decides by load alone. */
import { Directory } from '../src/directory/directory.ts';
import { leastLoaded } from '../src/policy/least-loaded.ts';

export const leastLoadedDirectory = (): Directory =>
  new Directory({
    secret: 1,
    policies: { policy: leastLoaded, shadow: undefined },
    askSnapshot: () => 0,
  });
