/** What the bench's processes on the ends of the lossy link are asked and answer. */

export type EdgeCommand =
  | { readonly kind: 'start'; readonly host: string; readonly hosts: number }
  /** How many nodes have replicas that are all ready. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'stop' };

export interface EdgeAnswer {
  readonly url: string;
  readonly port: number;
  readonly apiKey: string;
  readonly joinToken: string;
  readonly directory: string;
  readonly ready: number;
}

export type BodiesCommand = 'listen';
export interface BodiesAnswer {
  readonly port: number;
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly apiKey: string;
}

export type GuestCommand =
  /** Requests of just so many bytes each, one after the other on each of `atOnce` connections. */
  | {
      readonly kind: 'bodies';
      readonly target: Target;
      readonly bytes: number;
      readonly count: number;
      readonly atOnce: number;
    }
  /** A stream of so many events, of which a byte a second is read until the next command. */
  | { readonly kind: 'read slowly'; readonly target: Target; readonly events: number }
  | { readonly kind: 'leave' };

export interface GuestAnswer {
  /** From the first byte sent to the end of the answer. */
  readonly ms: readonly number[];
  /** Bodies that the engine got otherwise than they were sent, or not at all; in words. */
  readonly wrong: readonly string[];
  /** Of the slow client. */
  readonly readBytes: number;
}

export const bodiesModel = 'bodies';
