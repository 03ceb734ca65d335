/**
 * The program behind `cgn recipe`: takes the agent's own options, reads its configuration as the agent does, and prints
 * what its engines would be started with as one line of JSON. Starts nothing. A wrong configuration ends it with
 * status 2 and the agent's own words.
 */
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { parseConfig } from '../config/parse.ts';
import { defaultConfigPath } from '../config/schema.ts';
import { knownProfiles } from '../engines/known-profiles.ts';
import { LaunchImpossible } from '../engines/profiles/launch.ts';
import { plansOf } from './plans.ts';

try {
  const options = { profiles: knownProfiles, hostsOwn: defaultConfigPath };
  const parsed = parseConfig(process.argv.slice(2), process.env, options);
  if (parsed === 'help')
    throw new ConfigError('This program takes the options of "cgn agent", but no --help.');
  process.stdout.write(`${JSON.stringify(plansOf(parsed.config))}\n`);
} catch (thrown) {
  if (!(thrown instanceof ConfigError) && !(thrown instanceof LaunchImpossible)) throw thrown;
  process.stderr.write(`${thrown.message}\n`);
  process.exitCode = 2;
}
