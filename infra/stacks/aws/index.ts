/** The stack "aws": reads its configuration and brings up the fleet. What is exported are its outputs. */
import { awsFields, awsStack } from '../../src/aws.ts';
import { parseConfig } from '../../src/config.ts';
import { readFleetFiles } from '../../src/repository.ts';
import { configSource } from '../../src/stack-config.ts';

const config = parseConfig(awsFields, configSource());
export const { edge, edgeRegion, hosts } = awsStack({
  config,
  files: readFleetFiles(config, import.meta.dirname),
});
