import { readFileSync } from 'node:fs';
import { configDocument } from '@cognitora/node-agent/config/documentation';
import { knownProfiles } from '@cognitora/node-agent/engines/known-profiles';
import { expect, test } from 'vitest';

test('docs/agent-config.md is what the schema says: node scripts/agent-config-document.ts', () => {
  const document = readFileSync(new URL('../docs/agent-config.md', import.meta.url), 'utf8');
  expect(document).toBe(configDocument(knownProfiles));
});
