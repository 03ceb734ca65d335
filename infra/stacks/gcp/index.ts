/** The stack "gcp": reads its configuration and brings up the fleet. What is exported are its outputs. */

import { parseConfig } from '../../src/config.ts';
import { gcpFields, gcpStack } from '../../src/gcp.ts';
import { readFleetFiles } from '../../src/repository.ts';
import { configSource } from '../../src/stack-config.ts';

const config = parseConfig(gcpFields, configSource());
export const { edge, edgeRegion, hosts } = gcpStack({
  config,
  files: readFleetFiles(config, import.meta.dirname),
});
