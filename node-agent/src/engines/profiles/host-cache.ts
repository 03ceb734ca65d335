/** How much host memory an engine gets for KV that it moves out of its GPU, where nothing else was said. */

/**
 * A few conversations of a large model, and little enough for a workstation. Each engine's own variable or argument in
 * the configuration overrides it.
 */
export const hostCacheGigabytes = 8;
export const hostCacheBytes = hostCacheGigabytes * 1024 ** 3;
