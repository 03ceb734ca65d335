/** What the mock engine's process is asked and answers. */

export type EngineCommand = { readonly kind: 'listen' } | { readonly kind: 'count' };

export interface EngineAnswer {
  readonly port: number;
  /** Requests and events that the engine has answered so far. */
  readonly requests: number;
  readonly events: number;
}
