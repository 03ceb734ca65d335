/**
 * All that `cgn doctor` looks at on a host, in the order in which it matters. Decides what each finding means; looks at
 * nothing itself.
 */
import { kvDaemonPaths, kvDaemonSocketName } from '@cognitora/protocol/kv-daemon';
import type { AgentConfig } from '../config/agent-config.ts';
import { notNeededTwice } from '../config/describe.ts';
import type { EngineConfig } from '../engines/engine-config.ts';
import { engineProfiles } from '../engines/profiles/profiles.ts';
import { replicaDirectory } from '../engines/source.ts';
import type { Check, Host } from './check.ts';
import { engineChecks } from './engine-checks.ts';

const nodeMajorMin = 24;

const nodeCheck = ({ nodeVersion }: Host): Check => {
  const isFine = Number(nodeVersion.split('.')[0]) >= nodeMajorMin;
  const fix = `Install Node.js ${nodeMajorMin} or newer.`;
  return { what: 'node', outcome: isFine ? 'ok' : 'failed', says: nodeVersion, ...(isFine ? {} : { fix }) };
};

const directoryCheck = (host: Host, path: string): Check => {
  const trouble = host.directoryTrouble(path);
  const what = 'data directory';
  if (trouble === undefined) return { what, outcome: 'ok', says: path };
  return {
    ...{ what, outcome: 'failed', says: trouble },
    fix: 'Give the user that runs the agent a directory of its own, or name another as data_dir.',
  };
};

/** Of a data directory that can be used: whether it is free, and whether the host has joined. */
const agentChecks = (
  host: Host,
  { dataDirectory, edge, joinToken, joinTokenMissing }: AgentConfig,
): Check[] => {
  const pid = host.agentIn(dataDirectory);
  const taken: Check = {
    ...{ what: 'agent', outcome: 'failed', says: `one runs already (pid ${pid}) and uses ${dataDirectory}` },
    fix: 'End it before another starts there ("cgn agent status" shows it), or name another data_dir.',
  };
  const what = 'join';
  const gone = joinTokenMissing === undefined ? undefined : `${joinTokenMissing} is ${notNeededTwice}`;
  const join = (): Check => {
    if (host.isEnrolled(dataDirectory, edge)) {
      const says = `this host has joined ${edge.origin}`;
      return { what, outcome: 'ok', says: gone === undefined ? says : `${says}; ${gone}` };
    }
    if (joinToken !== undefined) return { what, outcome: 'ok', says: 'not yet, and a join token is given' };
    return {
      ...{ what, outcome: 'failed' },
      says: `this host has not joined ${edge.origin}, and ${gone ?? 'no join token is given'}`,
      fix: 'Make one with "cgn keys join", and give it in COGNITORA_JOIN_TOKEN or a join_token_file.',
    };
  };
  return [...(pid === undefined ? [] : [taken]), join()];
};

/** KV moves through it: without it nothing does. */
const handoverChecks = (host: Host, path: string | undefined): Check[] => {
  const says = path === undefined ? undefined : host.directoryTrouble(path);
  if (says === undefined) return [];
  const fix = 'Make it a directory that the user that runs the agent can write, or leave kv_handover out.';
  return [{ what: 'kv_handover', outcome: 'failed', says, fix }];
};

/** The agent waits for it, however long that takes. */
const kvcachedChecks = async (host: Host, socket: string | undefined): Promise<Check[]> => {
  if (socket === undefined) return [];
  const what = 'kvcached';
  const answer = await host.ask(new URL(kvDaemonPaths.stat, 'http://localhost'), {}, socket);
  if (typeof answer !== 'string' && answer.status === 200)
    return [{ what, outcome: 'ok', says: `${socket} answers` }];
  const why = typeof answer === 'string' ? answer : `what is there answers ${answer.status}`;
  const until = `no KV moves until "cgn kvcached" runs as this user, with its ${kvDaemonSocketName} there`;
  return [{ what, outcome: 'note', says: `${socket}: ${why}; ${until}` }];
};

const edgeCheck = async (host: Host, edge: URL): Promise<Check> => {
  const what = 'edge';
  const answer = await host.ask(new URL('/healthz', edge), {});
  if (typeof answer === 'string') {
    const fix = 'Correct the URL, or let this host reach it: name service, firewall, proxy, its certificate.';
    return { what, outcome: 'failed', says: `${edge.origin} does not answer: ${answer}`, fix };
  }
  if (answer.status !== 200) {
    const says = `${edge.origin}/healthz answers ${answer.status}, as no edge does`;
    return { what, outcome: 'failed', says, fix: 'Name the edge itself, not what stands beside it.' };
  }
  return { what, outcome: 'ok', says: `${edge.origin} answers` };
};

const gpusOf = ({ source }: EngineConfig): readonly number[] =>
  source.kind === 'launched' ? source.gpus : [];

/** One line for each GPU: `GPU 0: NVIDIA H100 (UUID: ...)`. */
const gpuIndexes = (list: string): readonly number[] =>
  [...list.matchAll(/^GPU (\d+):/gm)].map(([, index]) => Number(index));

const gpuCheck = async (host: Host, engines: readonly EngineConfig[]): Promise<Check> => {
  const what = 'GPUs';
  const wanted = [...new Set(engines.flatMap(gpusOf))].sort((one, other) => one - other);
  const program = host.find('nvidia-smi');
  const ran = program === undefined ? 'nvidia-smi is not found' : await host.run(program, ['-L'], new Map());
  const hasRun = typeof ran !== 'string' && ran.status === 0;
  const there = hasRun ? gpuIndexes(ran.output) : [];
  const why = typeof ran === 'string' ? ran : `nvidia-smi -L shows ${there.length} GPUs`;
  const missing = wanted.filter((index) => !there.includes(index));
  if (missing.length > 0) {
    const fix = 'Install the driver, or correct "gpus" of the engines: they count from 0.';
    return { what, outcome: 'failed', says: `no GPU ${missing.join(', ')} here: ${why}`, fix };
  }
  return there.length > 0
    ? { what, outcome: 'ok', says: why }
    : { what, outcome: 'note', says: `${why}: memory, watts and temperature of GPUs stay unknown` };
};

/** What can be told without a configuration, after why there is none. */
export async function* examineWithout(host: Host, why: string): AsyncGenerator<Check> {
  yield nodeCheck(host);
  const fix = 'Correct that; "cgn agent --check-config" reads it too.';
  yield { what: 'configuration', outcome: 'failed', says: why, fix };
  yield await gpuCheck(host, []);
}

/** What can be told where nobody has configured an agent, as on a host that only ran `cgn up`. */
export async function* examineUnconfigured(host: Host): AsyncGenerator<Check> {
  yield nodeCheck(host);
  const says = 'no agent is configured here; name --config or --edge';
  yield { what: 'configuration', outcome: 'note', says };
  yield await gpuCheck(host, []);
}

/** Each as soon as it is known: some programs take their time to show their options. */
export async function* examine(
  host: Host,
  config: AgentConfig,
  path: string | undefined,
): AsyncGenerator<Check> {
  yield nodeCheck(host);
  yield { what: 'configuration', outcome: 'ok', says: path ?? 'options and environment, no file' };
  const directory = directoryCheck(host, config.dataDirectory);
  yield directory;
  if (directory.outcome === 'ok') yield* agentChecks(host, config);
  yield* handoverChecks(host, config.kvHandover);
  yield* await kvcachedChecks(host, config.kvcached);
  yield await edgeCheck(host, config.edge);
  yield await gpuCheck(host, config.engines);
  for (const engine of config.engines) {
    const profile = engineProfiles.get(engine.profile);
    if (profile !== undefined)
      yield* await engineChecks(host, profile, engine, replicaDirectory(config.dataDirectory, engine.name));
  }
}
