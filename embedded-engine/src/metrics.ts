/** Counters of the engine and their Prometheus text. It counts what it is told and reads nothing itself. */

export interface Counters {
  promptTokens: number;
  cachedPromptTokens: number;
  generatedTokens: number;
  prefillSeconds: number;
  decodeSeconds: number;
  requests: number;
  abortedRequests: number;
  failedRequests: number;
  embeddingTokens: number;
  kvEventsPublished: number;
  kvEventsDropped: number;
  slotSaves: number;
  slotRestores: number;
}

export interface Gauges {
  readonly requestsRunning: number;
  readonly requestsWaiting: number;
  readonly kvBlocksInUse: number;
  readonly kvBlocksCapacity: number;
  readonly sequences: number;
  readonly contextTokens: number;
}

export function createCounters(): Counters {
  return {
    promptTokens: 0,
    cachedPromptTokens: 0,
    generatedTokens: 0,
    prefillSeconds: 0,
    decodeSeconds: 0,
    requests: 0,
    abortedRequests: 0,
    failedRequests: 0,
    embeddingTokens: 0,
    kvEventsPublished: 0,
    kvEventsDropped: 0,
    slotSaves: 0,
    slotRestores: 0,
  };
}

const counterLines: Readonly<Record<keyof Counters, readonly [name: string, help: string]>> = {
  promptTokens: ['prompt_tokens_total', 'Prompt tokens of all requests, cached ones included.'],
  cachedPromptTokens: ['cached_prompt_tokens_total', 'Prompt tokens whose KV was reused.'],
  generatedTokens: ['generated_tokens_total', 'Tokens generated.'],
  prefillSeconds: ['prefill_seconds_total', 'Time spent evaluating prompts.'],
  decodeSeconds: ['decode_seconds_total', 'Time spent generating tokens.'],
  requests: ['requests_total', 'Inference requests that were accepted.'],
  abortedRequests: ['aborted_requests_total', 'Requests whose client left before the end.'],
  failedRequests: ['failed_requests_total', 'Requests that failed inside the engine.'],
  embeddingTokens: ['embedding_tokens_total', 'Tokens of embedding inputs.'],
  kvEventsPublished: ['kv_events_published_total', 'KV events published.'],
  kvEventsDropped: ['kv_events_dropped_total', 'KV event messages dropped because the queue was full.'],
  slotSaves: ['slot_saves_total', 'Sequences whose state was saved.'],
  slotRestores: ['slot_restores_total', 'Files that were read as the state of a sequence, or tried to.'],
};

const gaugeLines: Readonly<Record<keyof Gauges, readonly [name: string, help: string]>> = {
  requestsRunning: ['requests_running', 'Requests that hold a sequence.'],
  requestsWaiting: ['requests_waiting', 'Requests that wait for a sequence.'],
  kvBlocksInUse: ['kv_blocks_in_use', 'Distinct KV blocks that some sequence holds.'],
  kvBlocksCapacity: ['kv_blocks_capacity', 'KV blocks that all sequences can hold.'],
  sequences: ['sequences', 'Sequences that can run at the same time.'],
  contextTokens: ['context_tokens', 'Tokens that one sequence can hold.'],
};

/** The page at `/metrics`. */
export function renderMetrics(counters: Readonly<Counters>, gauges: Gauges): string {
  const lines: string[] = [];
  const add = (kind: string, [name, help]: readonly [string, string], value: number): void => {
    const full = `cognitora_engine_${name}`;
    lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${kind}`, `${full} ${value}`);
  };
  for (const key of Object.keys(counterLines) as (keyof Counters)[]) {
    add('counter', counterLines[key], counters[key]);
  }
  for (const key of Object.keys(gaugeLines) as (keyof Gauges)[]) add('gauge', gaugeLines[key], gauges[key]);
  return `${lines.join('\n')}\n`;
}
