/** What a process of agents is asked and answers. */

export type AgentsCommand =
  | {
      readonly kind: 'start';
      readonly edgeUrl: string;
      readonly joinToken: string;
      readonly directory: string;
      /** Agent n serves `<engineUrl>/<models[n % models.length]>`. */
      readonly engineUrl: string;
      readonly models: readonly string[];
      readonly firstIndex: number;
      readonly count: number;
    }
  /** How many agents have a link now. */
  | { readonly kind: 'status' }
  /** Destroys every socket to the edge, with no closing frame and no goodbye. */
  | { readonly kind: 'cut' };

export interface AgentsAnswer {
  readonly linked: number;
  /** Last WELCOME of each agent that has a link, microseconds of the machine's monotonic clock. */
  readonly joinedUs: readonly number[];
  readonly cutSockets: number;
  /** Agents that gave up, in their own words. */
  readonly fatal: readonly string[];
}
