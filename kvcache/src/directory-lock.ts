/** One kvcached per data directory, whatever its socket is: two would remove and overwrite each other's segments. */
import fs from 'node:fs';
import { DirectoryLock } from '@cognitora/protocol/directory-lock';

export const kvcachedLock = new DirectoryLock({ program: 'kvcached', pid: process.pid, disk: fs });
