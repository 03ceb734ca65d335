/** The program as a person or a script runs it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const program = join(import.meta.dirname, 'main.ts');
const trace = join(import.meta.dirname, 'fixtures/agent_miniswe_b64.packed.txt');

test('the last line with --json is one object with the figures of the run, the same each time', async () => {
  const args = ['--trace', trace, '--nodes', '4', '--policy', 'predicted-latency', '--load', '0.8', '--json'];
  const lastLine = async (): Promise<string> => {
    const { stdout } = await run(process.execPath, [program, ...args]);
    // No goal is about four nodes: there is no table of them.
    expect(stdout).not.toContain('verdict');
    return stdout.trimEnd().split('\n').at(-1) ?? '';
  };
  const line = await lastLine();
  const { name, figures } = JSON.parse(line) as { name: string; figures: Record<string, unknown> };
  expect(name).toBe('sim');
  expect(figures).toMatchObject({ trace: 'agent_miniswe_b64', nodes: 4, load: 0.8, seed: 1, refused: 0 });
  for (const key of ['hitRatio', 'ceilingShare', 'ttftMeanMs', 'ttftP99Ms', 'balanceCv', 'joules']) {
    expect(figures[key]).toBeTypeOf('number');
  }
  expect(await lastLine()).toBe(line);
});

test('the help tells what the columns are, and that joules are simulated', async () => {
  const { stdout } = await run(process.execPath, [program, '--help']);
  expect(stdout).toMatch(/^ {2}balance cv {2}standard deviation over mean/m);
  expect(stdout).toMatch(/^ {2}J +simulated/m);
  expect(stdout).toMatch(/^ {2}tokens\/J {4}prompt and output/m);
});

test('a wrong option ends with status 2 and the usage, without a stack', async () => {
  const failed = await run(process.execPath, [program, '--polcy', 'random']).catch(
    (thrown: unknown) => thrown,
  );
  expect(failed).toMatchObject({ code: 2, stdout: '' });
  const { stderr } = failed as { stderr: string };
  expect(stderr).toContain('--policy');
  expect(stderr).not.toContain('    at ');
});
