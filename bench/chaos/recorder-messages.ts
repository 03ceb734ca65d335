/** What the recorder of a real engine is asked and answers. */

export type RecorderCommand =
  | { readonly kind: 'listen' }
  /** Where the engine listens now. */
  | { readonly kind: 'engine'; readonly port: number }
  | { readonly kind: 'recorded' };

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
}
