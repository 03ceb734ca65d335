/**
 * Every bound of the engine, in one place: name with its unit, and the reason for the value.
 * Nothing here is configurable at run time except where `arguments.ts` offers a flag with the same meaning.
 */
import assert from 'node:assert/strict';

/** A chat with pictures or a whole repository as context stays below this; more is a mistake or an attack. */
export const bodyBytesMax = 32 * 1024 * 1024;

/** Requests that wait for a sequence. Each holds its tokens only, so this bounds memory, not compute. */
export const waitingRequestsMax = 256;

/** What a refused client is told to wait: about one short answer of a small model on a CPU. */
export const retryAfterSeconds = 2;

/** OpenAI allows 128 choices; each is a full decode here, one after another on one sequence. */
export const choicesMax = 8;

/** Prompts in one completion request (they run one after another). */
export const promptsMax = 64;

/** Inputs in one embedding request: OpenAI's own limit. */
export const embeddingInputsMax = 2048;

/** OpenAI's own limits for `stop`, `top_logprobs` (chat) and `logprobs` (legacy completions). */
export const stopsMax = 4;
export const stopCharsMax = 256;
export const topLogprobsMax = 20;
export const legacyLogprobsMax = 5;

/** Longest embedding input: OpenAI's limit. llama.cpp needs it in one batch, whose buffers grow with it. */
export const embeddingTokensMax = 8192;

/** OpenAI allows 300 biased tokens in its client limits; the native sampler walks the list for each token. */
export const logitBiasEntriesMax = 1024;

/**
 * Tokens evaluated between two looks at the abort signal, so that a client that left frees its sequence
 * soon.
 */
export const prefillChunkTokens = 256;

/** Tokens that llama.cpp decodes at once: two prefill chunks, or one and many single decode steps. */
export const batchTokens = 512;

/** Parallel sequences: each owns its own KV cells for a whole context. */
export const sequencesMax = 64;
export const contextTokensMin = 128;
export const contextTokensMax = 1024 * 1024;
export const threadsMax = 256;

/** Spin barriers make several threads slower than one for models that fit in cache (measured: 5 x). */
export const oneThreadModelBytesMax = 100 * 1000 * 1000;

/** Used when the toy is asked for no particular length: it almost never ends by itself. */
export const toyCompletionTokensDefault = 128;

/** vLLM's default for legacy completions without `max_tokens`, as in OpenAI's reference. */
export const completionTokensDefault = 16;

/** Depth of a JSON schema for structured output; the grammar generator recurses. */
export const schemaDepthMax = 32;

/** `maxLength`, `maxItems` and the like. llama.cpp silently treats repetitions above 2,000 as without end. */
export const schemaRepetitionsMax = 1000;

/** KV events: vLLM's own default for the replay buffer, and the most messages queued per slow subscriber. */
export const replayStepsMax = 10_000;
export const kvEventsQueuedMax = 100_000;
export const blockTokensMin = 1;
export const blockTokensMax = 1024;

/** Shutdown: running requests get this long to notice their abort; the process must be gone within 2 s. */
export const shutdownGraceMs = 1_500;

/** A connection that sends headers this slowly, or a body this slowly, is dropped (slow-loris). */
export const headersTimeoutMs = 20_000;
export const requestTimeoutMs = 120_000;
/** Longer than common proxies' idle time, so that the client, not the server, closes a kept connection. */
export const keepAliveTimeoutMs = 75_000;

/**
 * Downloads: attempts in a row without one new byte, the wait between them, and silence that ends an
 * attempt.
 */
export const downloadAttemptsMax = 5;
export const downloadBackoffMsMin = 500;
export const downloadBackoffMsMax = 15_000;
export const downloadStallMsMax = 30_000;
export const downloadRedirectsMax = 5;
/**
 * Even an attempt that makes some progress counts here, so that a server that drips can't hold us for ever.
 */
export const downloadAttemptsTotalMax = 50;
/** Looks at a lock that another process holds: a model downloads for seconds at least. */
export const lockLookMs = 200;
/** Progress lines: often enough to look alive, rare enough not to scroll. */
export const progressIntervalMs = 500;

assert(prefillChunkTokens <= batchTokens, 'one prefill chunk must fit in one native batch');
assert(downloadBackoffMsMin <= downloadBackoffMsMax, 'backoff must grow');
assert(shutdownGraceMs < 2_000, 'the promise is to be gone within 2 s');
