/**
 * Files whose names others may put something else behind. Opening a pipe waits for its writer, in a thread that nobody
 * gets back, and a link leads elsewhere: only what is a plain file is read, and its size is that of what is read.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
const readBytes = 1024 * 1024;

/** `links: 'follow'` is for paths that a person or an engine names: models in a hub's cache are links. */
export const openPlain = async (path: string, links: 'follow' | 'refuse'): Promise<FileHandle> => {
  const file = await open(path, O_RDONLY | O_NONBLOCK | (links === 'refuse' ? O_NOFOLLOW : 0));
  try {
    if (!(await file.stat()).isFile()) throw new Error(`${path} is no plain file`);
    return file;
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
};

/** As much as it had when it was opened. Throws, before the first bytes, when it is no plain file. */
export async function* readPlain(path: string): AsyncGenerator<Uint8Array> {
  const file = await openPlain(path, 'refuse');
  try {
    const { size } = await file.stat();
    if (size > 0) yield* file.createReadStream({ highWaterMark: readBytes, end: size - 1, autoClose: false });
  } finally {
    await file.close();
  }
}
