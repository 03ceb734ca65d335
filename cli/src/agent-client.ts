/** Asking the agent of this host what it does now: its status file says where it answers on loopback. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type StatusAnswer,
  type StatusFile,
  statusFileName,
  statusPaths,
} from '@cognitora/protocol/agent-status';
import { isRecord, jsonRecordIn } from '@cognitora/protocol/shape';
import { UserError } from './terminal.ts';

const answerMsMax = 5_000;

/** Undefined where no agent has left word. */
export const statusFileIn = (directory: string): StatusFile | undefined => {
  let text: string;
  try {
    text = readFileSync(join(directory, statusFileName), 'utf8');
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EACCES') {
      throw new UserError(`${directory} cannot be read: ask as the user who runs the agent, or as root.`);
    }
    return undefined;
  }
  const file = jsonRecordIn(text);
  return typeof file?.url === 'string' && typeof file.pid === 'number'
    ? { url: file.url, pid: file.pid }
    : undefined;
};

export const askAgent = async ({ url, pid }: StatusFile): Promise<StatusAnswer> => {
  let answer: unknown;
  try {
    const response = await fetch(url + statusPaths.status, { signal: AbortSignal.timeout(answerMsMax) });
    answer = await response.json();
  } catch {
    throw new UserError(`The agent (pid ${pid}) does not answer at ${url}: it has ended, or hangs.`);
  }
  // Whoever has taken its port by now is no agent.
  if (!isRecord(answer) || !isRecord(answer.link) || !Array.isArray(answer.replicas)) {
    throw new UserError(`What answers at ${url} is no agent.`);
  }
  return answer as unknown as StatusAnswer;
};
