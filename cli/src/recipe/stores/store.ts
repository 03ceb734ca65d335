/**
 * Where a recipe's model comes from: what the engine is given, where its bytes lie, and who fetches them. One file for
 * each kind beside this one, and the table in `stores.ts`.
 */

export interface StorePlace {
  /** What the store calls the model. */
  readonly id: string;
  /** Of `cgn`. */
  readonly dataDirectory: string;
  /** Of the engine; the home directory among it. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Says what it does now, for a person. */
export type TellFetch = (text: string) => void;

export interface ModelStore {
  readonly name: string;
  /** What the agent's file names as the engine's model. */
  readonly modelOf: (place: Pick<StorePlace, 'id' | 'dataDirectory'>) => string;
  /** The directory or file of its bytes; undefined: it has none. */
  readonly pathOf: (place: StorePlace) => string | undefined;
  /** All of it is there. */
  readonly isThere: (place: StorePlace) => boolean;
  /** How much of it is there while the engine fetches it; absent: whoever fetches it tells. */
  readonly bytesThere?: (place: StorePlace) => number;
  /** Fetches it before the engine starts; absent: nobody has to. */
  readonly fetchBefore?: (place: StorePlace, tell: TellFetch, signal: AbortSignal) => Promise<void>;
  /** Has the running engine at `url` fetch it; absent: it does so by itself. Rejects with a `UserError`. */
  readonly fetchThrough?: (url: string, id: string, tell: TellFetch, signal: AbortSignal) => Promise<void>;
}
