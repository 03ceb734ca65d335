/**
 * `cgn doctor`: whether this host can do what its configuration asks for. The looking is a program of the agent's,
 * which says each finding as a line of JSON; here they are shown, and counted.
 */
import { spawn } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { printable } from '@cognitora/protocol/printable';
import { jsonRecordIn } from '@cognitora/protocol/shape';
import { eachLine } from '../lines.ts';
import { say, sayJson, UserError } from '../terminal.ts';

const program = join(
  resolve(dirname(fileURLToPath(import.meta.url)), '../../..'),
  'node-agent/src/doctor/main.ts',
);

export const doctorHelp = `cgn doctor: can this host do what its configuration asks for?

Usage
  cgn doctor [--config FILE] [--json] [options of "cgn agent"]

  Looks at Node, the data directory, the edge, GPUs, and each configured engine: whether its program is there
  and knows the options that it will be started with, or whether its URL answers; and whether what we know of
  that engine was held against the engine itself. Changes nothing.

  Exit status: 0 when nothing failed, 1 when something did.
`;

export interface Finding {
  readonly what: string;
  readonly outcome: string;
  readonly says: string;
  readonly fix?: string;
}

const marks: Readonly<Record<string, string>> = { ok: 'ok', note: 'note', failed: 'FAILED' };

/** Lines under a finding stand under what it says. */
const indent = ' '.repeat(8);

/** One finding for people. */
export const findingReport = ({ what, outcome, says, fix }: Finding): string => {
  const mark = (marks[outcome] ?? outcome).padEnd(indent.length);
  const lines = says.split('\n').map(printable);
  const told = `${mark}${printable(what)}: ${lines.join(`\n${indent}`)}`;
  return fix === undefined ? told : `${told}\n${indent}-> ${printable(fix)}`;
};

export const findingIn = (line: string): Finding | undefined => {
  const { what, outcome, says, fix } = jsonRecordIn(line) ?? {};
  if (typeof what !== 'string' || typeof outcome !== 'string' || typeof says !== 'string') return undefined;
  return { what, outcome, says, ...(typeof fix === 'string' ? { fix } : {}) };
};

/** Every finding, as soon as it is known. */
const examine = (argv: readonly string[], onFinding: (finding: Finding) => void): Promise<void> =>
  new Promise((accept, reject) => {
    const child = spawn(process.execPath, [program, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
    eachLine(child.stdout, (line) => {
      const finding = findingIn(line);
      if (finding !== undefined) onFinding(finding);
    });
    child.once('close', (status) => {
      if (status === 0) accept();
      else reject(new UserError(`The doctor itself ended with status ${status}; what it wrote is above.`));
    });
  });

export const doctor = async (argv: readonly string[]): Promise<number> => {
  if (argv.includes('--help') || argv.includes('-h')) {
    say(doctorHelp.trimEnd());
    return 0;
  }
  const isJson = argv.includes('--json');
  const findings: Finding[] = [];
  await examine(
    argv.filter((word) => word !== '--json'),
    (finding) => {
      findings.push(finding);
      if (!isJson) say(findingReport(finding));
    },
  );
  const failed = findings.filter(({ outcome }) => outcome === 'failed').length;
  if (isJson) sayJson({ ok: failed === 0, checks: findings });
  else say(failed === 0 ? '\nNothing stands in the way.' : `\n${failed} failed.`);
  return failed === 0 ? 0 : 1;
};
