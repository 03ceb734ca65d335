/** The one place of this room that draws lots: for what must not happen everywhere at once, never for secrets. */

/** From 0 up to 1. */
export const random = (): number => Math.random();
