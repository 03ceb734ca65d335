/** Writes the documents of both daemons' configurations from their schemas. A test keeps them equal. */
import { writeFileSync } from 'node:fs';
import { configDocument as kvcachedDocument } from '@cognitora/kvcache/config/documentation';
import { configDocument as agentDocument } from '@cognitora/node-agent/config/documentation';
import { knownProfiles } from '@cognitora/node-agent/engines/known-profiles';

writeFileSync(new URL('../docs/agent-config.md', import.meta.url), agentDocument(knownProfiles));
writeFileSync(new URL('../docs/kvcached-config.md', import.meta.url), kvcachedDocument());
