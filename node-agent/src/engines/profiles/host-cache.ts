/** How much of a host's memory and disk an engine gets for KV that it moves out of its GPU, unless more was said. */

/**
 * A few conversations of a large model, and little enough for a workstation. Each engine's own variable or argument in
 * the configuration overrides it.
 */
export const hostCacheGigabytes = 8;
export const hostCacheBytes = hostCacheGigabytes * 1024 ** 3;

/**
 * Of a `kv_directory`, where the engine takes a size and without one uses no disk at all. Eight times the memory: about
 * as much as the model itself takes on the same disk.
 */
export const hostDiskGigabytes = 64;
