/** What memory the system can still give, as Linux' files tell it. Reads none itself: this room has no disk. */

/** A container's bound included. Undefined where neither is told. `textOf` throws for files that are not there. */
export const memoryLeftIn = (textOf: (path: string) => string): number | undefined => {
  const read = (path: string): string => {
    try {
      return textOf(path);
    } catch {
      return '';
    }
  };
  const available = /^MemAvailable:\s+(\d+) kB$/m.exec(read('/proc/meminfo'))?.[1];
  const bound = /^\d+$/.exec(read('/sys/fs/cgroup/memory.max').trim())?.[0];
  const used = Number(read('/sys/fs/cgroup/memory.current').trim()) || 0;
  const left = [
    ...(available === undefined ? [] : [Number(available) * 1_024]),
    ...(bound === undefined ? [] : [Number(bound) - used]),
  ];
  return left.length === 0 ? undefined : Math.min(...left);
};
