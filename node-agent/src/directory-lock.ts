/** One agent per data directory, because the host's key lies there and the edge keeps one link per key. */
import fs from 'node:fs';
import { DirectoryLock } from '@cognitora/protocol/directory-lock';

export const agentLock = new DirectoryLock({ program: 'agent', pid: process.pid, disk: fs });
