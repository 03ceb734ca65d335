/**
 * What an agent tells on its own host of what it does now: `GET /status` on loopback, which "cgn agent status" shows.
 * Types only. What is not known is absent, never zero.
 */
import type { ErrorCode } from './errors.ts';
import type { NodeId, ReplicaName } from './ids.ts';
import type { Trust } from './kv.ts';
import type { ReplicaState } from './link.ts';
import type { GpuReport } from './telemetry.ts';

export const statusPaths = { health: '/healthz', metrics: '/metrics', status: '/status' } as const;

/** In the agent's data directory while it runs: where it answers. */
export const statusFileName = 'status.json';

export interface StatusFile {
  readonly url: string;
  readonly pid: number;
}

export type LinkState =
  /** The edge accepted it. */
  | 'linked'
  /** A dial, or the joining before it, is under way. */
  | 'dialling'
  /** The last dial failed; the next one comes after a while. */
  | 'waiting'
  /** No more work comes. */
  | 'stopping';

export interface LinkStatus {
  readonly state: LinkState;
  readonly edge: string;
  readonly region?: string;
  readonly epoch?: number;
  /** In this state since then; milliseconds since 1970. */
  readonly sinceMs: number;
  /** Dials after the first one. */
  readonly redials: number;
  /** Why the last link or dial ended. */
  readonly why?: string;
}

/** Of an engine that the agent starts. */
export type LaunchState =
  /** Its ports and files are made ready. */
  | 'starting'
  /** It runs, and cannot serve yet, or not at the moment. */
  | 'loading'
  | 'ready'
  /** It hung, or did not become ready in its time: it is asked to end, and is started again. */
  | 'ending'
  /** It gets no more work, and ends when what runs has ended. */
  | 'draining'
  | 'stopped'
  /** It ended, and is started again after a while. */
  | 'backing-off'
  /** It ended too often: it stays so until somebody asks for it again. */
  | 'gave-up';

export interface LaunchStatus {
  readonly state: LaunchState;
  /** Of its process group; absent while none runs. */
  readonly pid?: number;
  /** Where it answers, or will; absent while none runs. */
  readonly url?: string;
  /** Starts after the first one. */
  readonly restarts: number;
  /** The last lines that it wrote, oldest first. */
  readonly lastLines: readonly string[];
  /** The file of all of them. */
  readonly logPath: string;
}

/** What an engine's own metrics say, whoever its requests came from. */
export interface EngineLoadStatus {
  readonly running?: number;
  readonly waiting?: number;
  /** Of those, the ones that did not come from this agent. */
  readonly othersRunning?: number;
  readonly othersWaiting?: number;
  /** 0 to 1. */
  readonly kvUsage?: number;
  /** Counted since the agent first looked, over all starts of the engine. */
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  readonly generatedTokens?: number;
  readonly preemptions?: number;
}

/** Why KV was not moved where it could have been. */
export type MoveRefusal =
  /** Computing it is expected to take no longer than moving it. */
  | 'slower_than_computing'
  /** Others wait ahead, or the engine has no slot to spare. */
  | 'busy'
  /** The hand-over, or the restore, took longer than a request waits; or the request or the engine went meanwhile. */
  | 'too_late'
  /** The host that the edge named does not hold it any more, or is not reached. */
  | 'gone_at_peer'
  /** The saved bytes are not those that were written, or of another engine or model. */
  | 'damaged'
  /** The engine did not restore what it was given. */
  | 'refused_by_engine'
  /** What was restored was not used by the request that it was for. */
  | 'unused'
  /** As many were saved in the last minute as may be. */
  | 'saved_too_often'
  /** No slot holds the answer any more. */
  | 'not_in_a_slot'
  /** The state is larger than the hand-over takes, or its file is not what the engine said. */
  | 'unfit_file'
  /** The hand-over, the engine or the disk failed; the log says how. */
  | 'failed';

/** Of moves that came to their end. */
export interface MoveFigures {
  readonly count: number;
  readonly bytes: number;
  /** From the engine to the hand-over, or back. */
  readonly ms: number;
}

/** Of a replica whose KV may move to and from other hosts; counted since the agent started. */
export interface MovesStatus {
  /** Its engine has shown that it restores what it saves. */
  readonly canMove: boolean;
  readonly saved: MoveFigures;
  readonly restored: MoveFigures;
  readonly refused: Readonly<Partial<Record<MoveRefusal, number>>>;
}

export interface ReplicaStatus {
  readonly name: ReplicaName;
  readonly profile: string;
  readonly role: string;
  readonly kvOffload: string;
  readonly source: 'attached' | 'launched';
  /** Of a launched one. */
  readonly launch?: LaunchStatus;
  readonly state: ReplicaState;
  /** Why it cannot serve. */
  readonly why?: string;
  readonly models: readonly string[];
  readonly live: number;
  /** Since the agent started; the live ones included. */
  readonly requests: number;
  /** Of response bodies, as they went to the edge. */
  readonly bodyBytes: number;
  /** Requests that ended so. */
  readonly errors: Readonly<Partial<Record<ErrorCode, number>>>;
  /** Answers of the engine by the class of their status, such as `2xx`. */
  readonly answers: Readonly<Record<string, number>>;
  readonly caches: readonly { readonly model: string; readonly trust: Trust }[];
  readonly load?: EngineLoadStatus;
  /** Absent: its KV does not move. */
  readonly moves?: MovesStatus;
}

/** The host's KV daemon, through which KV moves to and from other hosts. */
export interface KvcachedStatus {
  /** It told of itself, and the edge heard of it. */
  readonly isJoined: boolean;
  /** Other hosts whose daemons it reaches. */
  readonly hosts: number;
  /** Why it has not joined. */
  readonly why?: string;
}

/** Answers that outlive their link. */
export interface KeptStatus {
  /** Memory of answers, under way or over, that a next link may claim. */
  readonly bytes: number;
  /** Without a link now. */
  readonly detached: number;
  /** Times that one went on under another link, since the agent started. */
  readonly resumed: number;
  /** Cancelled since nobody claimed them in time. */
  readonly unclaimed: number;
}

export interface AgentStatus {
  readonly agent: string;
  readonly node: NodeId;
  readonly name: string;
  readonly link: LinkStatus;
  readonly live: number;
  readonly kept: KeptStatus;
  readonly replicas: readonly ReplicaStatus[];
  readonly gpus: readonly GpuReport[];
  /** Absent: none is configured. */
  readonly kvcached?: KvcachedStatus;
}

export interface ProcessStatus {
  readonly pid: number;
  readonly uptimeMs: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** Log lines that nobody read in time. */
  readonly logLinesDropped: number;
}

export interface StatusAnswer extends AgentStatus {
  readonly process: ProcessStatus;
}
