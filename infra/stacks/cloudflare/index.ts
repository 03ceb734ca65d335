/** The stack "cloudflare": reads its configuration and brings up the edge. What is exported are its outputs. */
import { cloudflareFields, cloudflareStack } from '../../src/cloudflare.ts';
import { parseConfig } from '../../src/config.ts';
import { readEdgeFiles } from '../../src/repository.ts';
import { configSource } from '../../src/stack-config.ts';

const config = parseConfig(cloudflareFields, configSource());
export const { edgeUrl, regions, script } = cloudflareStack(config, readEdgeFiles());
