/**
 * What this host cannot give of what a configuration asks for, in words: said at the start and by `--check-config`.
 * Refuses nothing: memory may come free, and the agent makes a key later.
 */
import { existsSync, readdirSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { shownSize } from '@cognitora/protocol/config/kinds';
import { memoryLeftIn } from '@cognitora/protocol/memory-left';
import type { DaemonOptions } from './options.ts';

/** Of the host as it is now. */
export interface HostRoom {
  /** Undefined where nobody says. */
  readonly memoryLeft: () => number | undefined;
  /** What a directory's file system has left, and what its files take of it; the directory may not be there yet. */
  readonly diskLeft: (directory: string) => number | undefined;
  readonly isThere: (path: string) => boolean;
}

const diskLeft = (directory: string): number | undefined => {
  let there = directory;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  try {
    const { bavail, bsize } = statfsSync(there);
    const files = there === directory ? readdirSync(directory) : [];
    const taken = files.map((name) => statSync(join(directory, name)).blocks * 512);
    return bavail * bsize + taken.reduce((all, bytes) => all + bytes, 0);
  } catch {
    return undefined;
  }
};

export const thisHost: HostRoom = {
  memoryLeft: () => memoryLeftIn((path) => readFileSync(path, 'utf8')),
  diskLeft,
  isThere: existsSync,
};

const shown = (bytes: number): string => `${(Math.max(0, bytes) / 2 ** 30).toFixed(1)}GiB`;

export const hostNotes = ({ ramBytesMax, ssd, peers }: DaemonOptions, host: HostRoom): readonly string[] => {
  const notes: string[] = [];
  const memory = host.memoryLeft();
  if (memory !== undefined && ramBytesMax > memory) {
    notes.push(
      `ram is ${shownSize(ramBytesMax)}, and this host has ${shown(memory)} left: once values fill it, ` +
        'the system ends kvcached, or swaps. Take less.',
    );
  }
  const disk = ssd && host.diskLeft(ssd.directory);
  if (ssd !== undefined && disk !== undefined && ssd.bytesMax > disk) {
    notes.push(
      `disk is ${shownSize(ssd.bytesMax)}, and the file system of ${ssd.directory} has ` +
        `${shown(disk)} for it. Take less, or make room.`,
    );
  }
  if (peers !== undefined && !host.isThere(peers.identity)) {
    notes.push(
      `identity: ${peers.identity} is not there yet. The agent makes it when it first joins its fleet: ` +
        'start the agent first; until then kvcached ends with status 1.',
    );
  }
  return notes;
};
