/** Writes docs/agent-config.md from the schema of the agent's configuration. A test keeps them equal. */
import { writeFileSync } from 'node:fs';
import { configDocument } from '@cognitora/node-agent/config/documentation';
import { knownProfiles } from '@cognitora/node-agent/engines/known-profiles';

writeFileSync(new URL('../docs/agent-config.md', import.meta.url), configDocument(knownProfiles));
