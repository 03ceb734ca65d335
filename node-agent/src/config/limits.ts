/** Bounds of what a configuration file may say, each with its reason. */
import { gpusPerNodeMax, replicasPerNodeMax } from '@cognitora/protocol/limits';

/** Arguments of one engine: its own help lists about so many. */
export const argumentsMax = 512;
/** Variables of one engine's environment. */
export const variablesMax = 256;
/** Aliases of one engine: as many models as it may offer. */
export const aliasesMax = 256;
/** GPUs of one host: what is told of beyond them, no edge would read. */
export const gpusMax = gpusPerNodeMax;
/** Entries of `[[engine]]`: each is a replica at least. */
export const enginesMax = replicasPerNodeMax;

/**
 * Until an engine is ready for the first time: the largest open weights (700 GB) come over a line of 1 Gbit/s in two
 * hours, and are read from a slow disk in as long again; twice that. Before it, nobody gives up who may be at work.
 */
export const loadingMsDefault = 8 * 3_600_000;
/** One day more is no load: a timer of the runtime counts to 24 of them. */
export const loadingMsMax = 7 * 24 * 3_600_000;

/** Until an engine accepts a connection: whoever takes longer is down, and others wait behind it. */
export const connectMsMax = 60_000;

/** Data-parallel ranks of one engine: more do not share a host. */
export const eventRanksMax = 64;
