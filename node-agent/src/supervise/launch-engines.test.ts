/** What is said of engines that are attached. */
import { expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import { parseConfig } from '../config/parse.ts';
import { knownProfiles } from '../engines/known-profiles.ts';
import { launchEngines } from './launch-engines.ts';

const saidOf = async (...argv: string[]): Promise<string[]> => {
  const all = ['--config', '/dev/null', '--edge', 'http://127.0.0.1:1', ...argv];
  const parsed = parseConfig(all, {}, { profiles: knownProfiles, hostsOwn: '/dev/null' });
  if (parsed === 'help') throw new Error('help');
  const said: string[] = [];
  await launchEngines(parsed.config, {}, systemClock, (level, event, fields) => {
    said.push(`${level} ${fields?.engine}: ${event}`);
  });
  return said;
};

const attached = ['--engine-url', 'http://127.0.0.1:8000'];

test('an attached engine of which nobody said what it is gets one warning that says what to do', async () => {
  const [said = '', ...more] = await saidOf(...attached);
  expect(said).toMatch(
    /^warn r0: chats on this engine are not continued .* \(--profile vllm, sglang, llama-cpp, /,
  );
  expect(said).not.toContain('openai');
  expect(more).toEqual([]);
});

test.each(['vllm', 'ollama', 'embedded'])('an attached %s gets none', async (profile) => {
  expect(await saidOf(...attached, '--profile', profile)).toEqual([]);
});
