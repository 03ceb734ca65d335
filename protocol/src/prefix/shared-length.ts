/** How far two sequences are the same from their beginning, of which `from` members are known to be. Pure. */
export const sharedLength = (left: ArrayLike<unknown>, right: ArrayLike<unknown>, from = 0): number => {
  const max = Math.min(left.length, right.length);
  let length = from;
  while (length < max && left[length] === right[length]) length += 1;
  return length;
};
