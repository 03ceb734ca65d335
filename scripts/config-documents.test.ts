import { readFileSync } from 'node:fs';
import { configDocument as kvcachedDocument } from '@cognitora/kvcache/config/documentation';
import { configDocument as agentDocument } from '@cognitora/node-agent/config/documentation';
import { knownProfiles } from '@cognitora/node-agent/engines/known-profiles';
import { expect, test } from 'vitest';

test.each([
  ['docs/agent-config.md', () => agentDocument(knownProfiles)],
  ['docs/kvcached-config.md', kvcachedDocument],
])('%s is what the schema says: node scripts/config-documents.ts', (path, document) => {
  expect(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')).toBe(document());
});
