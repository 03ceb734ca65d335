/** The stack "hetzner": reads its configuration and brings up the fleet. What is exported are its outputs. */

import { parseConfig } from '../../src/config.ts';
import { hetznerFields, hetznerStack } from '../../src/hetzner.ts';
import { readFleetFiles } from '../../src/repository.ts';
import { configSource } from '../../src/stack-config.ts';

const config = parseConfig(hetznerFields, configSource());
export const { edge, edgeRegion, hosts, dedicatedScript } = hetznerStack({
  config,
  files: readFleetFiles(config, import.meta.dirname),
});
