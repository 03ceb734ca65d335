/**
 * The program behind `cgn doctor`: takes the agent's own options, reads its configuration as the agent does, and prints
 * each finding as a line of JSON. Changes nothing. Its status is 0 whatever it found: who reads the lines decides.
 */

import { existsSync } from 'node:fs';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { variableOf } from '@cognitora/protocol/config/schema';
import { parseConfig } from '../config/parse.ts';
import { configVariable, defaultConfigPath, topSection } from '../config/schema.ts';
import { knownProfiles } from '../engines/known-profiles.ts';
import type { Check } from './check.ts';
import { examine, examineUnconfigured, examineWithout } from './examine.ts';
import { thisHost } from './this-host.ts';

/** No option, no variable and no file says a word of an agent. */
const isUnconfigured = (): boolean => {
  const isSaid = [configVariable, variableOf(topSection, 'edge')].some(
    (name) => name !== undefined && process.env[name],
  );
  return process.argv.length <= 2 && !isSaid && !existsSync(defaultConfigPath);
};

const findings = (): AsyncGenerator<Check> => {
  if (isUnconfigured()) return examineUnconfigured(thisHost);
  try {
    const options = { profiles: knownProfiles, hostsOwn: defaultConfigPath };
    const parsed = parseConfig(process.argv.slice(2), process.env, options);
    if (parsed !== 'help') return examine(thisHost, parsed.config, parsed.path);
    return examineWithout(thisHost, 'none was read');
  } catch (thrown) {
    if (thrown instanceof ConfigError) return examineWithout(thisHost, thrown.message);
    throw thrown;
  }
};

for await (const check of findings()) process.stdout.write(`${JSON.stringify(check)}\n`);
