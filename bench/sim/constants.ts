/**
 * The constants of the simulated engine, in one place. Changing one is a decision record: results before and after
 * can't be compared.
 */

/** A prefill's fixed part, ms. */
export const prefillBaseMs = 10;
/** Uncached tokens one engine prefills in a second at no context and no decoding. */
export const prefillTokensPerSecond = 10_000;
/** Context at which attention has doubled the cost of a prefilled token. */
export const contextDoublingTokens = 65_536;
/** Each decoding request slows a prefill by this share. */
export const decodeSlowsPrefill = 0.01;
/** One decode step at batch 1 is `decodeStepMs * (1 + decodeBatchShare)`. */
export const decodeStepMs = 20;
export const decodeBatchShare = 0.02;

/** Watts of a node: idle; decoding, scaled by batch up to `fullBatch`; prefilling. */
export const idleWatts = 110;
export const decodeWatts = 420;
export const prefillWatts = 650;
/** The batch at which decoding draws all of `decodeWatts`. */
export const fullBatch = 32;

/** Service time of a prefill of `uncached` tokens that ends at `context` tokens, ms. */
export const prefillMs = (uncached: number, context: number, decoding: number): number =>
  prefillBaseMs +
  (uncached / prefillTokensPerSecond) *
    1000 *
    (1 + context / contextDoublingTokens) *
    (1 + decodeSlowsPrefill * decoding);

/** Time of one token of each of `batch` decoding requests, ms. */
export const decodeTokenMs = (batch: number): number => decodeStepMs * (1 + decodeBatchShare * batch);
