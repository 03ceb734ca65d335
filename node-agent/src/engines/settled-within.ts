/** Waits for work, but not for ever. Never says how the work ended. */

/** Resolves when the work has ended, however it did, or when its time is up. */
export const settledWithin = async (work: Promise<void>, ms: number): Promise<void> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => {}), late]);
  clearTimeout(timer);
};
