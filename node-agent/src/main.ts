/**
 * The program `cgn agent`: configuration in, signals in, one agent. Prints one JSON line on standard output once the
 * edge accepted the link, unless a person reads there; everything else goes to standard error.
 */
import { Socket } from 'node:net';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { systemClock } from './clock.ts';
import { type AgentConfig, ConfigError, type ParentPipe } from './config/agent-config.ts';
import { describeConfig } from './config/describe.ts';
import { agentHelp } from './config/help.ts';
import { parseConfig } from './config/parse.ts';
import { defaultConfigPath } from './config/schema.ts';
import { Agent } from './daemon.ts';
import { DirectoryTaken, lockDirectory } from './directory-lock.ts';
import { knownProfiles } from './engines/known-profiles.ts';
import { attachedSources } from './engines/source.ts';
import { HostIdentity, KeyUnreadable } from './identity.ts';
import { standardErrorLog } from './log.ts';

/** Live streams get this long when the parent is gone: nobody is left to wait for them. */
const orphanDrainMs = 2_000;

const silent = new Writable({ write: (_chunk, _encoding, done) => done() });

/** Asks on the terminal without showing what is typed. */
const askJoinToken = async (): Promise<string | undefined> => {
  if (!process.stdin.isTTY) return undefined;
  process.stderr.write('Join token (not shown): ');
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  const token = (await terminal.question('')).trim();
  terminal.close();
  process.stderr.write('\n');
  return token === '' ? undefined : token;
};

/** Undefined when there is nothing to run: the exit status is set then. */
const readConfig = (): AgentConfig | undefined => {
  try {
    const options = { profiles: knownProfiles, hostsOwn: defaultConfigPath };
    const parsed = parseConfig(process.argv.slice(2), process.env, options);
    if (parsed !== 'help' && !parsed.isCheck) return parsed.config;
    process.stdout.write(parsed === 'help' ? agentHelp() : describeConfig(parsed.config, parsed.path));
  } catch (thrown) {
    if (!(thrown instanceof ConfigError)) throw thrown;
    process.stderr.write(`${thrown.message}\n`);
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

const run = async (parsed: AgentConfig): Promise<void> => {
  let orphaned = (): void => process.exit();
  if (parsed.parentPipe !== undefined) watchParent(parsed.parentPipe, () => orphaned());
  process.once('exit', await lockDirectory(parsed.dataDirectory));
  const identity = new HostIdentity(parsed.dataDirectory, systemClock, standardErrorLog);
  const mayAsk = parsed.parentPipe !== 'stdin' && !identity.isEnrolledAt(parsed.edge);
  const joinToken = parsed.joinToken ?? (mayAsk ? await askJoinToken() : undefined);
  const agent = new Agent({
    config: { ...parsed, joinToken },
    sources: attachedSources(parsed.engines),
    identity,
    clock: systemClock,
    random: Math.random,
    log: standardErrorLog,
    onJoined: ({ region, epoch }) => {
      if (process.stdout.isTTY) return;
      process.stdout.write(`${JSON.stringify({ event: 'joined', node: identity.node, region, epoch })}\n`);
    },
    onFatal: (why) => {
      standardErrorLog('error', why);
      process.exitCode = 1;
      void agent.stop(0).then(() => process.exit());
    },
  });
  const stop = (drainMs?: number): void => {
    void agent.stop(drainMs).then(() => process.exit());
  };
  process.once('SIGTERM', () => stop());
  process.once('SIGINT', () => stop());
  orphaned = () => stop(orphanDrainMs);
  agent.start();
};

const config = readConfig();
try {
  if (config !== undefined) await run(config);
} catch (thrown) {
  if (!(thrown instanceof DirectoryTaken || thrown instanceof KeyUnreadable)) throw thrown;
  standardErrorLog('error', thrown.message);
  // Like wrong arguments: a supervisor that tries again changes nothing.
  process.exit(2);
}
