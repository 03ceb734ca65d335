/** Every bound between daemons: what waits, how long, how much at once, each with its reason. */
import { kvFabricNodesMax } from '@cognitora/protocol/limits';

const KiB = 1024;
const MiB = 1024 * KiB;

/** One frame of a value: two of them on their way keep a channel busy, and a cap is kept to within one. */
export const dataBytesMax = 256 * KiB;
/** Namespaces of a daemon, or what a check found, as JSON. */
export const jsonBytesMax = 256 * KiB;
/** A probe of bandwidth: 2 ms of a fast network, half a second of a slow one. */
export const probeBytes = 256 * KiB;
export const probeBytesMax = 1 * MiB;
/** A value that is written to be fetched back is small. */
export const checkBytesMax = 4 * MiB;

/** Connections to one peer by a transport whose connections carry one exchange at a time: measured best of 4 to 8. */
export const connectionsPerPeerMax = 8;
/** Connections accepted from one node: its pool, and one that is being replaced. */
export const acceptedPerPeerMax = 16;
/** Connections accepted at all, those included that have not shown who they are. */
export const acceptedMax = 2_048;
/** Exchanges at once on one connection that carries many. */
export const streamsPerConnectionMax = 64;
/** Who waits for a channel to one peer. */
export const channelsWaitingMax = 256;
/** And for how long: a look takes less, and a fetch has its place before it asks. */
export const channelMsMax = 5_000;

/** From the first packet to an identity on both ends. */
export const dialMsMax = 3_000;
/** Inside an exchange without a byte; a LAN loses no second, a far path a few. */
export const stallMsMax = 5_000;
/** A holder that brings nothing of a value for so long is left for another, or another path: a third of its time. */
export const fetchStallMsMax = 1_500;
/** Where others hold it too, one has this long at least, a pause of either end; and so long where nothing is known. */
export const holderMsMin = 500;
export const holderUnknownMsMax = 1_000;
/** How often a try is held against that. */
export const patienceLookMs = 100;
/** For a place in the line of one peer, where others hold it too. */
export const placeMsMax = 1_000;
/** What is short, all of it, and the look at a path: more is as good as no answer. */
export const askedMsMax = 5_000;
/** Between two requests of a connection that was accepted: longer than two rounds of probes. */
export const restMsMax = 180_000;
/** A connection beyond the first that is not used. */
export const idleMsMax = 30_000;

/** Values that are fetched at once, of all peers and of one; each has its room in memory reserved. */
export const fetchesMax = 16;
/** One connection is left for what is short. */
export const fetchesPerPeerMax = connectionsPerPeerMax - 1;
/** Who waits for that: more would be late anyway. */
export const fetchesWaitingMax = 256;
/** Tries of one value, all holders and paths together. */
export const attemptsMax = 4;
/** Values that are sent at once, of all peers and to one: each is held in memory meanwhile. */
export const servedMax = 64;
export const servedPerPeerMax = 16;
/** Probes that are answered at once, of all peers and of one, which looks at one path at a time. */
export const probedMax = 64;
export const probedPerPeerMax = 2;
/** Of memory, what may be held at once because peers read it, one value always; the rest is this host's. */
export const servedShareMax = 1 / 4;
/** The fleet as the edge tells it is taken no more often: each time makes the listeners' certificate anew. */
export const fabricMs = 100;
/** Unless the caller knows better: what a prefill of a long prompt takes. */
export const fetchMsMax = 5_000;

/** Questions to the edge without an answer. */
export const asksMax = 32;
/** The edge's answer; a miss is not worth more. */
export const askMsMax = 500;
/** "Nobody holds it" is believed this long, and "that holder failed" this long. */
export const nobodyMsMax = 1_000;
export const failedMsMax = 5_000;
/** Of each of the two. */
export const rememberedMax = 65_536;

/** Peers are looked at this often, give or take a half. */
export const probeMsMean = 60_000;
/** And their bandwidth this often. */
export const bandwidthMsMean = 600_000;
/** Paths that are looked at at once. */
export const probesMax = 4;
/** A path that cannot be reached is looked at ever less often, up to this. */
export const probeBackoffMsMax = 600_000;

/** Keys that came or went since the agent was told; with more all are told anew. */
export const changedKeysMax = 65_536;
/** Keys looked at for one line to the agent: a few ms, in which nothing else is done. */
export const heldLooksMax = 16_384;
/** What came and went is gathered this long; predictions at the edge bridge it. */
export const heldMs = 50;
/** Reach is told no more often. */
export const reachMs = 1_000;
/** Keys of one request that are fetched side by side; and peers that are probed so. */
export const fetchedTogetherMax = 32;
export const probedTogetherMax = 4;

/** Files of a mirrored namespace that are listed for others: what they may pull in a minute or two, 300 KB. */
export const newestKeysMax = 1_024;
/** Of one answer: more than is pulled until the next one, unless they are small. */
export const newestAskedMax = 256;
/** Lists asked for at once, and who waits: all peers for each mirror. */
export const newestAsksMax = 8;
export const newestAsksWaitingMax = 16 * kvFabricNodesMax;
/** Values taken without being asked for, at once: of 16 fetches, so that those that somebody waits for go on. */
export const pullsMax = 2;
export const pullsWaitingMax = newestAsksWaitingMax;
/** Of each of them: together a tenth of what an SSD writes. */
export const pullsBytesPerMs = (32 * MiB) / 1_000;
/** Until it is one's turn, and until a value is here: nobody waits for it. */
export const pullWaitMsMax = 60_000;
export const pullMsMax = 20_000;
