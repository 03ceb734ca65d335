/**
 * The program `cgn agent`: configuration in, signals in, one agent. Prints one JSON line on standard output once the
 * edge accepted the link, unless a person reads there; everything else goes to standard error.
 */

import { Socket } from 'node:net';
import type { ProcessStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { DirectoryTaken } from '@cognitora/protocol/directory-lock';
import { RepeatedSignals } from '@cognitora/protocol/repeated-signals';
import { systemClock } from './clock.ts';
import type { AgentConfig, ParentPipe } from './config/agent-config.ts';
import { describeConfig } from './config/describe.ts';
import { agentHelp } from './config/help.ts';
import { checkedJoinToken } from './config/join-token.ts';
import { parseConfig } from './config/parse.ts';
import { defaultConfigPath } from './config/schema.ts';
import { Agent } from './daemon.ts';
import { agentLock } from './directory-lock.ts';
import { knownProfiles } from './engines/known-profiles.ts';
import { secretsOf } from './engines/source.ts';
import { HostIdentity, KeyUnreadable } from './identity.ts';
import { askJoinToken } from './join-prompt.ts';
import { descriptorWriter, LineWriter } from './line-writer.ts';
import { createLog, hideTokens, type Log } from './log.ts';
import { configuredMoves } from './moves/configured-moves.ts';
import { healthOf } from './status/health.ts';
import { serveStatus } from './status/server.ts';
import { ServiceManager, systemdNotify, takeServiceEnvironment } from './status/service-manager.ts';
import { writeStatusFile } from './status/status-file.ts';
import { launchEngines } from './supervise/launch-engines.ts';
import { powerSources } from './telemetry/power-source.ts';

/** At the end of the process its log's reader gets this long. */
const lastLinesMsMax = 1_000;
/** Live streams get this long when the parent is gone: nobody is left to wait for them. */
const orphanDrainMs = 2_000;
const logLines = new LineWriter(descriptorWriter(process.stderr.fd));

/** Undefined when there is nothing to run: the exit status is set then. */
const readConfig = (): AgentConfig | undefined => {
  try {
    const options = { profiles: knownProfiles, hostsOwn: defaultConfigPath };
    const parsed = parseConfig(process.argv.slice(2), process.env, options);
    if (parsed !== 'help' && !parsed.isCheck) return parsed.config;
    process.stdout.write(parsed === 'help' ? agentHelp() : describeConfig(parsed, knownProfiles));
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    // A token that stands where a file's name should is not repeated.
    process.stderr.write(`${hideTokens(thrown.message)}\n`);
    process.exitCode = 2;
  }
  return undefined;
};

/** Calls back when the parent is gone, however it went. */
const watchParent = (pipe: ParentPipe, onGone: () => void): void => {
  const readable = pipe === 'stdin' ? process.stdin : new Socket({ fd: 3, readable: true, writable: false });
  readable.resume();
  readable.once('end', onGone);
  readable.once('error', onGone);
};

/** A failure that somebody can mend, in words and with its exit status. */
const foreseen = (thrown: unknown): { readonly message: string; readonly status: number } | undefined => {
  // Like wrong arguments: a supervisor that tries again changes nothing.
  const isSetUp = [ConfigError, DirectoryTaken, KeyUnreadable].some((kind) => thrown instanceof kind);
  if (isSetUp && thrown instanceof Error) {
    return { message: thrown.message, status: 2 };
  }
  const isListening = thrown instanceof Error && 'syscall' in thrown && thrown.syscall === 'listen';
  if (!isListening) return undefined;
  return {
    message: `The status cannot be served: ${thrown.message}. Choose another status.listen.`,
    status: 1,
  };
};

/** What the process says of itself, beside what the agent does. */
const processStatus = (): ProcessStatus => {
  const { rss, heapUsed } = process.memoryUsage();
  return {
    pid: process.pid,
    uptimeMs: Math.round(process.uptime() * 1_000),
    residentBytes: rss,
    heapBytes: heapUsed,
    logLinesDropped: logLines.dropped,
  };
};

const logOf = ({ log, joinToken, engines }: AgentConfig): Log =>
  createLog({
    ...log,
    isTerminal: process.stderr.isTTY === true,
    wallMs: () => systemClock.wallMs(),
    secrets: [...(joinToken === undefined ? [] : [joinToken]), ...engines.flatMap(secretsOf)],
    write: (line) => logLines.line(line),
  });

/** Ends the process, with the status that is set, once its last lines are written. */
const exit = async (): Promise<never> => {
  await logLines.drained(lastLinesMsMax);
  process.exit();
};

/** Tells who asks on this host, and a service manager if there is one. Resolves with what is to be done at the end. */
const tellStatus = async (
  { status: listen, dataDirectory }: AgentConfig,
  agent: Agent,
  log: Log,
): Promise<() => Promise<void>> => {
  if (listen !== undefined) {
    const answer = (): StatusAnswer => ({ ...agent.status, process: processStatus() });
    const { url } = await serveStatus(listen, answer);
    process.once('exit', writeStatusFile(dataDirectory, { url, pid: process.pid }));
    log('info', 'status', { url });
  }
  const service = takeServiceEnvironment(process.env, [process.pid, process.ppid]);
  if (service === undefined) return () => Promise.resolve();
  const manager = new ServiceManager({
    watchdogMs: service.watchdogMs,
    notify: systemdNotify(service.environment),
    health: () => healthOf(agent.status),
    log,
  });
  manager.start();
  return () => manager.stopping();
};

/** Undefined: nobody typed one. Throws a `ConfigError`. */
const typedJoinToken = async (): Promise<string | undefined> => {
  const typed = await askJoinToken({ input: process.stdin, output: process.stderr });
  return typed && checkedJoinToken(typed, 'What was typed');
};

const run = async (parsed: AgentConfig, log: Log): Promise<void> => {
  let orphaned = (): void => process.exit();
  if (parsed.parentPipe !== undefined) watchParent(parsed.parentPipe, () => orphaned());
  process.once('exit', await agentLock.take(parsed.dataDirectory));
  const identity = new HostIdentity(parsed.dataDirectory, systemClock, log);
  const mayAsk = parsed.parentPipe !== 'stdin' && !identity.isEnrolledAt(parsed.edge);
  const joinToken = parsed.joinToken ?? (mayAsk ? await typedJoinToken() : undefined);
  const agent = new Agent({
    config: { ...parsed, joinToken },
    sources: await launchEngines(parsed, process.env, systemClock, log),
    powerSources,
    environment: process.env,
    moves: configuredMoves(parsed, { node: identity.node, clock: systemClock, random: Math.random, log }),
    identity,
    clock: systemClock,
    random: Math.random,
    log,
    onJoined: ({ region, epoch }) => {
      if (process.stdout.isTTY) return;
      process.stdout.write(`${JSON.stringify({ event: 'joined', node: identity.node, region, epoch })}\n`);
    },
    onFatal: (why) => {
      log('error', why);
      process.exitCode = 1;
      void agent.stop(0).then(() => exit());
    },
  });
  const stopping = await tellStatus(parsed, agent, log);
  const stop = (drainMs?: number): void => {
    void Promise.all([agent.stop(drainMs), stopping()]).then(() => exit());
  };
  const signals = new RepeatedSignals();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // An agent that stops already waits for nothing: a second signal ends the process.
      if (signals.heard(systemClock.monotonicMs()) !== 'echo') stop();
    });
  }
  // A terminal that is gone says the same, and means the end.
  if (!process.stdin.isTTY) process.on('SIGHUP', () => agent.retry());
  orphaned = () => stop(orphanDrainMs);
  agent.start();
};

const config = readConfig();
if (config !== undefined) {
  const log = logOf(config);
  await run(config, log).catch(async (thrown: unknown) => {
    const told = foreseen(thrown);
    if (told === undefined) throw thrown;
    log('error', told.message);
    process.exitCode = told.status;
    await exit();
  });
}
