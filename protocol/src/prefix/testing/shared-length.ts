/** How far two sequences are the same from their beginning. */
export const sharedLength = (left: ArrayLike<unknown>, right: ArrayLike<unknown>): number => {
  let length = 0;
  while (length < Math.min(left.length, right.length) && left[length] === right[length]) length += 1;
  return length;
};
