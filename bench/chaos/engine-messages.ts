/** What a fake engine of the chaos run is started with, asked, and says by itself. */

/** In argv, as JSON. */
export interface EngineStart {
  /** 0: a free one. */
  readonly port: number;
  readonly model: string;
  /** From one word to the next. */
  readonly wordMs: number;
}

/** `running`: asks for `live`. */
export type EngineQuestion = 'running';

/** What became of a request, told at once: an engine that is killed can tell nothing later. */
export interface EngineNote {
  readonly kind: 'begun' | 'whole' | 'broken off' | 'refused';
  readonly requestId: string;
  /** Words of the answer that the request brought along. */
  readonly emittedWords: number;
}

export type EngineMessage =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'running'; readonly live: number }
  | EngineNote;
