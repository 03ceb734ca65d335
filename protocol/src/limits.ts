/**
 * Every bound of the wire and of what stands behind it, with its unit in the name and its reason beside it.
 * Nothing here is negotiated: each end enforces its own receive limits and announces its windows in HELLO and
 * WELCOME. The relations at the end are checked when the module loads.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Body bytes in one DATA or BODY frame: small enough that 64 streams interleave within 2 MiB. */
export const frameBodyBytesMax = 32 * KiB;
/** Payload of any frame: a HELLO that advertises 64 replicas with long model lists stays below it. */
export const framePayloadBytesMax = 256 * KiB;
/** One transport message: a sender closes a message once it holds this much; far below the 32 MiB of Workers. */
export const messageBytesMax = 1 * MiB;
/**
 * Bodies end a message at this: a receiver hears of a message once it is whole, and takes who says nothing for a lease
 * for gone. At 10 KB a second that takes 6.4 s.
 */
export const bodyMessageBytesMax = 64 * KiB;

/** Unread response bytes the edge accepts per stream: about 250 SSE chunks, what we hold for a stalled client. */
export const edgeStreamWindowBytes = 64 * KiB;
/** Unread response bytes the edge accepts per link: 128 fully stalled clients before the link itself waits. */
export const edgeLinkWindowBytes = 8 * MiB;
/** Request bytes an agent accepts per stream ahead of the engine: keeps a long upload moving on a 100 ms path. */
export const agentStreamWindowBytes = 256 * KiB;
/** Request bytes an agent accepts per link ahead of its engines. */
export const agentLinkWindowBytes = 16 * MiB;
/** Response bytes an agent queues per stream before it stops reading from the engine. */
export const agentQueuedBytesMax = 128 * KiB;

/** Live streams on one link; above it the node is not eligible. An engine rarely batches more than 1,024. */
export const streamsPerLinkMax = 2048;
/** Links one object accepts: 1,000 nodes in a small region with head-room. */
export const linksPerObjectMax = 2048;
/** Replicas of one node: 16 GPUs with several small models each. */
export const replicasPerNodeMax = 64;
/** Characters of why a replica cannot serve: about a line; 64 of them and their models still fit a HELLO. */
export const replicaWhyCharsMax = 200;
/** GPUs that one node tells of, and of which a replica may use any. */
export const gpusPerNodeMax = 64;
/** Models (with their LoRA adapters) one replica advertises. */
export const modelsPerReplicaMax = 256;

/** Request body on self-hosted workerd: 32 MiB holds a 128k-token prompt with several images. */
export const bodyBytesMaxSelfHosted = 32 * MiB;
/** Request body on Workers: four of them fit the budget of a 128 MB isolate. */
export const bodyBytesMaxWorkers = 8 * MiB;
/** Of a refused request's body this much is read and dropped, so that the client lives to read the refusal. */
export const discardBytesMax = 32 * MiB;
/** Bodies that are here and not sent on yet, in self-hosted workerd: two of the largest, then 503. */
export const bodyBytesInFlightMaxSelfHosted = 64 * MiB;
/** The same in an isolate on Workers: with what V8 has not collected yet it stays below 96 of its 128 MB. */
export const bodyBytesInFlightMaxWorkers = 32 * MiB;
/** Bodies that are kept while they are answered, in case that another replica has to go on: 2,000 of 64 KiB. */
export const bodyBytesKeptMaxSelfHosted = 128 * MiB;
/** The same in an isolate on Workers, beside the bodies in flight and the maps. */
export const bodyBytesKeptMaxWorkers = 16 * MiB;
/** A body is kept to be sent again, to another replica, until this much of it has gone. */
export const replayBytesMax = 1 * MiB;
/** A body is read, kept and sent on in parts of this size: few turns of the event loop, little unused in the last. */
export const bodyPartBytes = 64 * KiB;
/** The first part is smaller, so that a thousand clients who send nothing cost 16 MiB, and most bodies fit it. */
export const firstBodyPartBytes = 16 * KiB;
/** A client that sends nothing of its body for this long is refused; a phone may change networks meanwhile. */
export const uploadPatienceMs = 15_000;
/** What a body brings buys it time at this rate, never more than that patience: half of a slow uplink's. */
export const uploadBytesPerSecondMin = 64 * KiB;
/** While the budget is full, a body that used up this much patience makes room for one that comes. */
export const uploadYieldMs = 2_000;

/** Text ping from the agent this often; answered by the platform without waking the object. */
export const heartbeatMs = 3_000;
/** A node without a heartbeat for this long receives no work: three missed heartbeats. */
export const leaseMsMax = 10_000;
/** A dial's signed time may differ from the edge's clock by this much. */
export const dialSkewMsMax = 120_000;
/** From an accepted socket to its HELLO. */
export const helloMsMax = 10_000;
/** From OPEN to the agent's first frame, unless its host says else; the agent's own delay stays far below it. */
export const ackMsMax = 2_000;
/**
 * The same of a link on which something else comes: on a slow one OPEN waits behind bodies, and ACK behind answers. No
 * host may say more.
 */
export const ackBusyMsMax = 15_000;
/** The agent holds an ACK back this long, because a HEAD within it says the same and saves a message. */
export const ackDelayMs = 25;
/** Response headers wait for the engine's this long, then 200 and an SSE comment are committed. */
export const headersHoldMsMax = 15_000;
/** A committed SSE response that says nothing gets a comment this often (proxies give up after 60 to 120 s). */
export const keepAliveMs = 15_000;
/** A client that reads nothing for this long while its window is full is disconnected. */
export const clientStallMsMax = 120_000;
/** The same, while its node's link has no credit left because of such clients: the others wait for it. */
export const crowdedStallMsMax = 5_000;
/** A request's life, queueing and long generations included. */
export const requestMsMax = 3_600_000;
/** Agent: TCP connect to the engine on loopback or a LAN. */
export const engineConnectMsMax = 5_000;
/** Agent: from sending the request to the engine's first byte, comments aside; a 128k-token prefill on a busy GPU. */
export const firstTokenMsMax = 600_000;
/** Agent: between two reads of a response body, comments aside. */
export const interTokenMsMax = 120_000;
/** Reconnect delay of an agent: full jitter over this, doubled per failure up to the maximum. */
export const redialMsMin = 250;
export const redialMsMax = 10_000;
/** The same while it keeps streams for a later link, which wait for it. */
export const redialKeptMsMax = 1_000;
/** Agent: without a link for this long, what no client can claim soon enough is cancelled. */
export const linklessMsMax = 8_000;
/** Agent: a stream of an older link that nobody claims this long after WELCOME is cancelled. */
export const unclaimedMsMax = 3_000;
/** Agent: the last bytes of a response that it keeps for a later link: an edge's window, eightfold. */
export const replayStreamBytesMax = 512 * KiB;
/** Agent: those of all streams together; beyond it the streams that keep most lose their oldest bytes. */
export const replayHostBytesMax = 64 * MiB;
/** Agent: an answer that ended is kept this long: a link may have been dead for a lease before anybody knows. */
export const endedKeptMsMax = leaseMsMax + linklessMsMax + unclaimedMsMax;
/** Replicas that are asked for one request in one region before the next region is: a blip, and one that is broken. */
export const attemptsPerRegionMax = 3;
/** Replicas that go on with one answer: a request that ends each engine it meets ends no more than these. */
export const continuationsMax = 5;
/** Rounds in which one of them is looked for, `resumeMsMin` apart: engines are started again within seconds. */
export const continuationRoundsMax = 5;
/** Edge: the next link of a node is waited for this long by a request of whose answer nothing came yet. */
export const resumeMsMin = 1_000;
/** Edge: an answer that is no stream is held up to this size, to be asked for anew if it breaks off. */
export const heldAnswerBytesMax = 1 * MiB;
/** Edge: the next link of a node is waited for this long where a stream can be continued elsewhere. */
export const resumeMsContinuable = 3_000;
/** Edge: the same where it cannot: by then its agent has given it up. */
export const resumeMsMax = linklessMsMax;
/** Edge: who waits for that link asks again after this long if the object that it asked is gone in its turn. */
export const resumeAgainMs = 250;
/** After GOAWAY an agent finishes its streams for this long before the socket closes. */
export const drainMsMax = 30_000;

/** A key is trusted from a Worker's memory this long, so that a revocation takes at most that long. */
export const keyCacheMsMax = 10_000;
/** Keys a Worker remembers, the unknown ones included. */
export const keyCacheEntriesMax = 10_000;
/** A self-hosted edge: a client to whom nothing was written for this long may have left unnoticed. */
export const quietMs = 250;
/** Its supervisor looks for those who left this often while there are such clients. */
export const hangUpPollMsMin = 250;
/** The same where looking is slow, on a host with very many connections: a hang-up still shows within a second. */
export const hangUpPollMsMax = 500;
/** It looks for this long before it asks again whether there are such clients. */
export const hangUpLookMs = 1_000;
/** The edge holds its answer back for at most this long while there are none. */
export const hangUpHoldMs = 10_000;
/** Clients that hung up, in one report; the rest is told in the next. */
export const hangUpsPerReportMax = 4_096;
/** Clients watched at once: as many as one address has ports. */
export const clientsWatchedMax = 65_536;
/** Workers keep a region's roster (who serves which model) this long. */
export const rosterCacheMsMax = 5_000;
/** A model that was not in it is asked for again after this long: its first replica may just have told of its cache. */
export const rosterMissMsMax = 500;
/** After a region's object began its nodes are expected back for this long: they wait at most 10 s between dials. */
export const relinkMsMax = 15_000;
/** A model whose last replica left is "no capacity" for this long, and "unknown" after it. */
export const modelMemoryMsMax = 3_600_000;
/** While a replica loads and has named no model, an unknown one is "no capacity" for this long: most load within it. */
export const unnamedLoadMsMax = 1_800_000;

/** Priorities of a tenant's own requests: 0 to 9, as a digit says them. */
export const prioritiesMax = 10;
/** Of a request that does not say. */
export const priorityDefault = 5;
/** Requests that wait for one model, unless set: each keeps its body in the Worker, within the budget of bodies. */
export const queueMaxDefault = 512;
/** And at most: 16,384 waiting requests take about 32 MiB in the region's object, bodies not counted. */
export const queueMaxMax = 16_384;
/** A request waits for a seat this long, unless set: most clients and proxies give up after 30 to 60 s of silence. */
export const queueMsMaxDefault = 30_000;
/** A first token that is predicted later is not waited for, unless set: proxies cut what is silent for as long. */
export const firstTokenObjectiveMsDefault = 120_000;
/** While nobody serves a model any more, those that wait for it stay this long: a node that reconnects is back. */
export const unservedMsMax = 3_000;
/** While requests wait, their times are looked after this often. */
export const queueLookMs = 250;
/** What an answer is taken to cost when the request does not bound it, in tokens. */
export const answerTokensDefault = 512;
/** And at most: some clients ask for all there is, and what was not used is given back. */
export const answerTokensCountedMax = 16_384;
/** Models, and tenants, with limits of their own, in one region. */
export const limitsKeptMax = 4_096;
/** Models, and tenants, of which a region counts what it granted and refused. */
export const countedMax = 1_024;
/** Retries, as a share of requests that got a first replica here: more would be a load when a fleet fails. */
export const retriesPerRequest = 0.2;
/** Retries at once: a node that dies with a hundred requests unanswered. Continued answers take nothing of these. */
export const retriesAtOnceMax = 100;
/** The longest that a refusal tells a client to wait: what is later nobody knows. */
export const retryAfterSecondsMax = 120;

/** Model names a region remembers for that: 1,000 nodes with 64 adapters each. */
export const modelsRememberedMax = 65_536;
/** Objects look at their timers this often: ACK, silence, keep-alive, stalls. */
export const sweepMs = 500;
/** API keys, and join tokens, of one deployment. */
export const keysMax = 100_000;
export const joinTokensMax = 10_000;
/** A join token's life unless asked otherwise, and its uses. */
export const joinTokenMsDefault = 24 * 3_600_000;
export const joinTokenUsesDefault = 16;
export const joinTokenUsesMax = 1_000_000;
/** Enrolled nodes of one deployment. */
export const nodesEnrolledMax = 100_000;

/** Bytes of one SSE event that the agent holds while it looks for usage; longer events pass unread. */
export const sseEventBytesMax = 1 * MiB;
/** Edge: raw events of an answer that wait to be read into text: about 130, which are decoded at once. */
export const sentUnreadBytesMax = 32 * KiB;
/** Edge: the text of an answer that is kept to be continued from: as much as a body may hold to be sent again. */
export const sentTextCharsMax = 1 * MiB;
/** Edge: events at an answer's end whose lengths are known, where the start of a stop text may be: most take few. */
export const sentTailEventsMax = 64;
/** Edge: the same, of events behind these that are white space alone: models get caught in that, not for so long. */
export const sentSpaceEventsMax = 1_024;
/** Bytes of a `usage` object captured from a response. */
export const usageBytesMax = 16 * KiB;
/** Bytes of `model`, `stream` or `stream_options` in a large request body: each is a few dozen. */
export const outlineFieldBytesMax = 64 * KiB;
/** Depth of a large request body's JSON: Python's reader, which most engines use, gives up near 1,000. */
export const jsonDepthMax = 1_024;
/** Characters of a model's name, and of a node's. */
export const nameCharsMax = 256;
/** Headers in one OPEN or HEAD: an engine sends about ten, a proxy before it as many; more is a mistake. */
export const headersPerMessageMax = 128;
/** Characters of a query, its `?` included: it holds a version or a switch; what is longer belongs in the body. */
export const queryCharsMax = 2048;

/** A block of canonical prompt bytes that one prefix digest stands for: about 64 tokens, four compressions. */
export const prefixBlockBytesDefault = 256;
/** The least a policy may choose, 16 tokens: smaller blocks than engines have would cost and tell nothing. */
export const prefixBlockBytesMin = 64;
/** The most, 256 tokens: one chunk of BLAKE3; coarser ones would hide what short prompts share. */
export const prefixBlockBytesMax = 1 * KiB;
/**
 * Prefix digests of one prompt: 64 KiB across a hop. With blocks as by default every prompt that is read is digested
 * whole: what reaches beyond its digests counts as uncached wherever it is, and draws long sessions apart (note 5).
 */
export const prefixBlocksMax = 8_192;
/** Prefix maps of one region's object, together, in self-hosted workerd: eight models with a million blocks each. */
export const prefixMapsBytesMaxSelfHosted = 512 * MiB;
/** The same on Workers: with the bodies in flight it stays below an isolate's 128 MB. */
export const prefixMapsBytesMaxWorkers = 48 * MiB;
/** A replica that is away keeps its place in a cell this long: a host boots in minutes, and its cache is cold then. */
export const cellPlaceMsMax = 900_000;
/**
 * So long nobody else is given that place: agents redial within seconds of a cut or a restart, so all that are coming
 * back are there. Later a newcomer may have it, if the replicas that are here need fewer cells than they sit in.
 */
export const cellPlaceFirmMs = 60_000;
/** Places kept for replicas that are away, and places in a region's database: 1,000 nodes with 64 such models each. */
export const cellPlacesMax = 65_536;
/** A request body above this is not parsed for its digests: its objects would fill an isolate. */
export const prefixBodyBytesMax = 2 * MiB;
/** Root keys of models that an isolate remembers. */
export const prefixRootsMax = 1_024;
/** A response longer than this is not read for the turn after it: as an SSE stream, about 8,000 tokens. */
export const replyBytesMax = 2 * MiB;
/** Digests in one KV message: 128 KiB, so that a snapshot holds up other streams for a moment only. */
export const kvDigestsPerMessageMax = 16_384;
/** Digests that one replica may hold of one model: 8 million tokens; with more it would push others out of the map. */
export const kvDigestsPerFeedMax = 131_072;
/** Feeds of one link: replicas and the models that are in use on them. */
export const kvFeedsPerLinkMax = 256;
/** Between two deltas an agent gathers what changed in its caches for this long: predictions bridge it. */
export const kvDeltaMs = 50;
/** Digests that an edge reads of one link: two full snapshots a second, what 64 fast engines fill and evict. */
export const kvDigestsPerSecond = 262_144;
/** So many at once: two snapshots load side by side, the next is asked for once there is room again. */
export const kvDigestsBurst = 262_144;
/** Frames of one node that serve no stream: 12 feeds that change with each `kvDeltaMs`, twice, and all marks. */
export const unaskedFramesPerSecond = 500;
/** So many at once, and as many again before the link is closed: a HELLO's worth of feeds and replicas, twice. */
export const unaskedFramesBurst = 4_000;
/** Nodes of a fleet that share KV: each probes all others, and the roster has to fit a frame. */
export const kvFabricNodesMax = 256;
/** A node that is away stays in the roster for this long: others' daemons serve it while its edge is away, too. */
export const kvFabricAwayMsMax = 900_000;
/** Addresses at which one node's KV daemon listens: two transports on four networks. */
export const kvPeerAddressesMax = 8;
/** Digests of keys that one KVASK asks for: the keys of one miss of an engine, and a short answer. */
export const kvAskDigestsMax = 64;
/** Keys that an edge knows of one node, and digests of them that it reads at once: a full daemon tells itself anew. */
export const kvKeysPerNodeMax = 131_072;
/** Digests of keys that it reads of one node: what a fast disk writes and drops of 64 KiB values. */
export const kvHeldDigestsPerSecond = 65_536;
/** KVASKs of one node, and twice as many at once: 3,200 keys a second. */
export const kvAsksPerSecond = 50;
/** Holders named for each of them: the nearest, and others in case that they fail. */
export const kvHoldersPerDigestMax = 4;

/** An agent tells what it measures no more often: requests that others send to an engine come and go in seconds. */
export const telemetryMs = 1_000;
/** It tells figures again that did not change after this long, so that their age says whether they still hold. */
export const telemetryRefreshMs = 5_000;
/** Figures older than this count as unknown: two refreshes may be lost. */
export const telemetryMsMax = 15_000;

const assertRelation = (holds: boolean, relation: string): void => {
  if (!holds) throw new Error(`limits: ${relation} must hold`);
};
assertRelation(
  frameBodyBytesMax + 64 * KiB < framePayloadBytesMax,
  'a body frame fits with its OPEN metadata',
);
assertRelation(framePayloadBytesMax < messageBytesMax, 'any frame fits one message');
assertRelation(frameBodyBytesMax <= edgeStreamWindowBytes / 2, 'half a window holds a whole frame');
assertRelation(edgeStreamWindowBytes < edgeLinkWindowBytes, 'a link window holds many stream windows');
assertRelation(heartbeatMs * 3 <= leaseMsMax, 'a lease outlives two lost heartbeats');
assertRelation(crowdedStallMsMax < clientStallMsMax, 'a crowded link is patient for less long');
assertRelation(ackDelayMs * 10 < ackMsMax, 'a delayed ACK cannot look like a lost one');
assertRelation(bodyBytesMaxSelfHosted * 2 <= bodyBytesInFlightMaxSelfHosted, 'two of the largest bodies fit');
assertRelation(bodyBytesMaxWorkers * 2 <= bodyBytesInFlightMaxWorkers, 'two of the largest bodies fit');
assertRelation(firstBodyPartBytes <= bodyPartBytes, 'the first part is the smaller');
assertRelation(quietMs + hangUpPollMsMax < 1_000, 'a hang-up is noticed within a second');
assertRelation(uploadYieldMs < uploadPatienceMs, 'a body makes room before its time is up');
assertRelation(
  prefixBlockBytesMin <= prefixBlockBytesDefault && prefixBlockBytesDefault <= prefixBlockBytesMax,
  'the default block is one that a policy may choose',
);
assertRelation(kvDigestsPerMessageMax * 8 + 4 * KiB < framePayloadBytesMax, 'a KV message fits a frame');
assertRelation(kvDigestsPerFeedMax <= kvDigestsBurst, 'a full snapshot can be asked for');
assertRelation(
  prefixBlocksMax * prefixBlockBytesDefault >= prefixBodyBytesMax,
  'a prompt that is read is digested whole',
);
assertRelation(prefixBlocksMax <= kvDigestsPerMessageMax, 'the digests of a prompt fit one KV message');
assertRelation(kvDigestsPerMessageMax <= kvKeysPerNodeMax, 'a node may tell a full message of keys');
assertRelation(kvFabricNodesMax * 1 * KiB <= framePayloadBytesMax, 'a roster of usual nodes fits a frame');
assertRelation(linklessMsMax + 2_000 <= 10_000, 'no engine works 10 s after its edge died');
assertRelation(
  edgeStreamWindowBytes + agentQueuedBytesMax + 64 * KiB <= replayStreamBytesMax / 2,
  'what was on its way when a link ended is kept, and as much again may come',
);
assertRelation(unclaimedMsMax >= resumeMsContinuable, 'who waits for a link finds the stream on it');
assertRelation(telemetryMs < telemetryRefreshMs, 'what changed goes before what did not');
assertRelation(telemetryRefreshMs * 3 <= telemetryMsMax, 'figures outlive two lost refreshes');
