/** The stack "azure": reads its configuration and brings up the fleet. What is exported are its outputs. */
import { azureFields, azureStack } from '../../src/azure.ts';
import { parseConfig } from '../../src/config.ts';
import { readFleetFiles } from '../../src/repository.ts';
import { configSource } from '../../src/stack-config.ts';

const config = parseConfig(azureFields, configSource());
export const { edge, edgeRegion, hosts } = azureStack({
  config,
  files: readFleetFiles(config, import.meta.dirname),
});
