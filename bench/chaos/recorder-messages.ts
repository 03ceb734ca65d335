/** What the recorder of a real engine is asked and answers. */

export type RecorderCommand =
  | { readonly kind: 'listen' }
  /** Where the engine listens now. */
  | { readonly kind: 'engine'; readonly port: number }
  | { readonly kind: 'recorded' }
  /** Asks the engine itself. */
  | { readonly kind: 'ask'; readonly path: string; readonly body: string };

/** One request as an engine had it. */
export interface Recorded {
  readonly requestId: string;
  readonly path: string;
  readonly body: string;
  /** SSE, as far as it came. */
  answer: string;
  isWhole: boolean;
}

export interface RecorderAnswer {
  readonly port: number;
  readonly recorded: readonly Recorded[];
  /** To what was asked directly. */
  readonly text: string;
}
