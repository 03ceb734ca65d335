/**
 * What the configuration says, once it is read: types only. `parse.ts` reads it.
 */
import type { Listen } from '@cognitora/protocol/config/kinds';
import type { Region } from '@cognitora/protocol/ids';
import type { EngineConfig } from '../engines/engine-config.ts';

export type ParentPipe = 'stdin' | 'descriptor 3';

export const logFormats = ['auto', 'json', 'pretty'] as const;
/** `auto` is pretty on a terminal and JSON elsewhere. */
export type LogFormat = (typeof logFormats)[number];

export const logLevels = ['info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface AgentConfig {
  readonly edge: URL;
  readonly region: Region | undefined;
  readonly name: string;
  readonly dataDirectory: string;
  /** At least one; in the order in which they are configured. */
  readonly engines: readonly EngineConfig[];
  readonly joinToken: string | undefined;
  /** The file that should hold the token and is not there: an enrolled host needs none. */
  readonly joinTokenMissing?: string | undefined;
  /** A directory that hosts share, through which saved KV moves; undefined: none does. */
  readonly kvHandover: string | undefined;
  /** The socket of this host's KV daemon, through which it moves instead; at most one of both is set. */
  readonly kvcached: string | undefined;
  readonly log: { readonly format: LogFormat; readonly level: LogLevel };
  /** Where the agent tells of itself; undefined: nowhere. */
  readonly status: Listen | undefined;
  /** The agent ends when what it reads here does: its parent holds the other end. */
  readonly parentPipe: ParentPipe | undefined;
}
