/** Work on many items, so many at a time, begun in their order. Rejects with the first that does; others go on. */
export const sideBySide = async <Item>(
  items: readonly Item[],
  atOnceMax: number,
  does: (item: Item) => Promise<unknown>,
): Promise<void> => {
  const left = items.values();
  const worker = async (): Promise<void> => {
    for (const item of left) await does(item);
  };
  await Promise.all(Array.from({ length: Math.min(atOnceMax, items.length) }, worker));
};
