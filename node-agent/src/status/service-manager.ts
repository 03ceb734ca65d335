/**
 * Tells systemd how this service is: READY=1 once the host serves, STATUS= in words, WATCHDOG=1 from the event loop,
 * STOPPING=1 at the end. Node has no datagram sockets of the file system, so `systemd-notify` carries each message, one
 * at a time; what comes meanwhile is merged into the next one. Does nothing where no service manager asked for it.
 *
 *   every second: health -> what is new of it -> `systemd-notify READY=1 STATUS=...` -> the next one
 */
import { execFile } from 'node:child_process';
import type { Log } from '../log.ts';
import type { Health } from './health.ts';

/** Runs the program; calls back when it ended, with what went wrong. */
export type Notify = (assignments: readonly string[], done: (error?: Error) => void) => void;

export interface ServiceManagerOptions {
  readonly watchdogMs: number | undefined;
  readonly notify: Notify;
  readonly health: () => Health;
  readonly log: Log;
}

const lookMs = 1_000;
/** The manager itself is busy for moments; a program that does not end is of no use. */
const notifyMsMax = 10_000;
const statusCharsMax = 200;
/** Twice in the time that the manager waits, and once in hand. */
const beatsPerWatchdog = 3;

export interface ServiceEnvironment {
  readonly watchdogMs: number | undefined;
  readonly environment: NodeJS.ProcessEnv;
}

/**
 * What a service manager asked of this process; undefined: there is none. Takes it out of the environment: engines that
 * we start must not speak for us. `pids` are this process and the one that started it, `cgn`.
 */
export const takeServiceEnvironment = (
  environment: NodeJS.ProcessEnv,
  pids: readonly number[],
): ServiceEnvironment | undefined => {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: microseconds, WATCHDOG_PID: pid } = environment;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
  if (socket === undefined || socket === '') return undefined;
  const isOurs = pid === undefined || pids.includes(Number(pid));
  const watchdogMs = isOurs && Number(microseconds) > 0 ? Number(microseconds) / 1_000 : undefined;
  return { watchdogMs, environment: { PATH: environment.PATH, NOTIFY_SOCKET: socket } };
};

export const systemdNotify =
  (environment: NodeJS.ProcessEnv): Notify =>
  (assignments, done) => {
    const options = { env: environment, timeout: notifyMsMax, killSignal: 'SIGKILL' as const };
    execFile('systemd-notify', [...assignments], options, (error) => done(error ?? undefined));
  };

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  /** By name: what the manager has to hear next. */
  readonly #waiting = new Map<string, string>();
  #toldStatus = '';
  #isReady = false;
  #isTelling = false;
  #isTroubleTold = false;
  #looking: NodeJS.Timeout | undefined;
  #whenTold: (() => void)[] = [];

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
  }

  start(): void {
    const { watchdogMs } = this.#options;
    this.#looking = setInterval(() => this.look(), lookMs);
    // Not ended by `stopping`: the manager watches to the end.
    if (watchdogMs !== undefined) {
      setInterval(() => this.#tell({ WATCHDOG: '1' }), watchdogMs / beatsPerWatchdog).unref();
    }
    this.look();
  }

  /** Tells what is new. */
  look(): void {
    const { isHealthy, says } = this.#options.health();
    const status = says.replaceAll(/\p{Cc}/gu, ' ').slice(0, statusCharsMax);
    const isNewlyReady = isHealthy && !this.#isReady;
    if (!isNewlyReady && status === this.#toldStatus) return;
    this.#isReady ||= isHealthy;
    this.#toldStatus = status;
    this.#tell({ ...(isNewlyReady ? { READY: '1' } : {}), STATUS: status });
  }

  /** The service is about to end. Resolves when the manager has heard it. */
  stopping(): Promise<void> {
    clearInterval(this.#looking);
    this.#tell({ STOPPING: '1', STATUS: 'finishing live requests' });
    return new Promise((resolve) => this.#whenTold.push(resolve));
  }

  #tell(assignments: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(assignments)) this.#waiting.set(name, value);
    this.#next();
  }

  #next(): void {
    if (this.#isTelling) return;
    if (this.#waiting.size === 0) {
      for (const told of this.#whenTold.splice(0)) told();
      return;
    }
    const assignments = [...this.#waiting].map(([name, value]) => `${name}=${value}`);
    this.#waiting.clear();
    this.#isTelling = true;
    this.#options.notify(assignments, (error) => {
      this.#isTelling = false;
      if (error !== undefined) this.#trouble(error);
      this.#next();
    });
  }

  /** Once: a log that repeats it every second helps nobody. */
  #trouble(error: Error): void {
    if (this.#isTroubleTold) return;
    this.#isTroubleTold = true;
    this.#options.log('warn', 'the service manager is not told', { why: error.message });
  }
}
