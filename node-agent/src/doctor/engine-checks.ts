/**
 * What the doctor says of one configured engine: whether it is there, whether it knows the options that it is about to
 * be started with, whether it answers. Decides; the host looks.
 */
import { jsonRecordIn } from '@cognitora/protocol/shape';
import type { AttachedEngine, EngineConfig, LaunchedEngine } from '../engines/engine-config.ts';
import { enginePath } from '../engines/engine-path.ts';
import { type Launch, LaunchImpossible, launchOf } from '../engines/profiles/launch.ts';
import type { EngineProfile, Evidence, LaunchPlan } from '../engines/profiles/profile.ts';
import type { Check, Host, RanProgram } from './check.ts';
import { tokenizerCheck } from './tokenizer-check.ts';

/** Any ports do: only the options' names are looked for. */
const somePorts: LaunchPlan['ports'] = { http: 8000, transfer: 5600 };

const evidenceWords = (evidence: Evidence): string => {
  if (evidence.kind === 'recorded') return `held against recorded answers of ${evidence.program}`;
  return evidence.kind === 'run'
    ? `${evidence.program} itself runs in the tests`
    : `only after ${evidence.from}`;
};

/** Verified is what was held against a program that we did not write, or against the engine itself. */
export const isVerified = ({ evidence }: EngineProfile): boolean =>
  evidence.some(({ kind }) => kind !== 'constructed');

const evidenceCheck = (what: string, profile: EngineProfile): Check => {
  const words = profile.evidence.map(evidenceWords).join('; ');
  const says = `"${profile.name}" is ${isVerified(profile) ? 'verified' : 'unverified'}: ${words}`;
  return { what: `${what}: profile`, outcome: isVerified(profile) ? 'ok' : 'note', says };
};

/** Options among arguments: `--port 80` and `--port=80` alike. */
const optionsIn = (argv: readonly string[]): readonly string[] => [
  ...new Set(argv.filter((word) => /^--?[a-z]/i.test(word)).map((word) => word.replace(/=.*$/s, ''))),
];

/** Those of the options that a help text does not have as whole words. */
export const unknownOptions = (argv: readonly string[], help: string): readonly string[] => {
  const known = new Set(help.match(/(?<![\w-])--?[\w-]+/g) ?? []);
  return optionsIn(argv).filter((option) => !known.has(option));
};

/** Without what leads to the engine itself, such as an interpreter's own options: its help has those not. */
const behind = (helpArgv: readonly string[], argv: readonly string[]): readonly string[] => {
  const differ = argv.findIndex((word, at) => word !== helpArgv[at]);
  return differ < 0 ? [] : argv.slice(differ);
};

const lastLine = (text: string): string => text.trim().split('\n').at(-1)?.trim().slice(0, 300) ?? '';

const helpCheck = (
  what: string,
  program: string,
  ran: RanProgram | string,
  options: { readonly ours: readonly string[]; readonly configured: readonly string[] },
): Check => {
  const failed = (says: string, fix: string): Check => ({ what, outcome: 'failed', says, fix });
  if (typeof ran === 'string')
    return failed(`${program} could not be run: ${ran}`, 'Repair its installation.');
  if (ran.status !== 0) {
    const how = ran.status === undefined ? 'did not end in time' : `ended with status ${ran.status}`;
    return failed(
      `asked for its options, ${program} ${how}: ${lastLine(ran.output)}`,
      'Repair its installation, or name another program as "command" of this engine.',
    );
  }
  const missing = unknownOptions(options.ours, ran.output);
  if (missing.length > 0) {
    return failed(
      `${program} does not know ${missing.join(', ')}`,
      'Install a release that does, or take a kv_offload that needs none of these.',
    );
  }
  const odd = unknownOptions(options.configured, ran.output);
  if (odd.length > 0) {
    return { what, outcome: 'note', says: `${program} does not list ${odd.join(', ')} of "arguments"` };
  }
  const count = optionsIn([...options.ours, ...options.configured]).length;
  return { what, outcome: 'ok', says: `it knows all ${count} options it will be started with` };
};

const launchOrWhyNot = (profile: EngineProfile, plan: LaunchPlan): Launch | string => {
  try {
    return launchOf(profile, plan);
  } catch (thrown) {
    if (thrown instanceof LaunchImpossible) return thrown.message;
    throw thrown;
  }
};

const launchedChecks = async (
  host: Host,
  what: string,
  profile: EngineProfile,
  config: EngineConfig,
  engine: LaunchedEngine,
  directory: string,
): Promise<Check[]> => {
  const { role, kvOffload } = config;
  const plan: LaunchPlan = {
    ...{ config: { ...engine, arguments: [] }, role, kvOffload, host: '127.0.0.1' },
    ...{ ports: somePorts, directory },
  };
  const launch = launchOrWhyNot(profile, plan);
  if (typeof launch === 'string') {
    const fix = 'Correct that in the configuration.';
    return [{ what: `${what}: launch`, outcome: 'failed', says: launch, fix }];
  }
  const found = host.find(launch.program);
  const checks: Check[] = [];
  if (found === undefined) {
    checks.push({
      what: `${what}: program`,
      outcome: 'failed',
      says: `there is no program "${launch.program}" that can be run`,
      fix: 'Install the engine, or give the path of its program as "command" of this engine.',
    });
  } else {
    checks.push({ what: `${what}: program`, outcome: 'ok', says: found });
    const helpArgv = profile.launching?.helpArgv ?? [];
    const ran = await host.run(found, helpArgv, launch.environment);
    const options = { ours: behind(helpArgv, launch.argv), configured: engine.arguments };
    checks.push(helpCheck(`${what}: options`, found, ran, options));
  }
  if (engine.model.startsWith('/') && !host.isThere(engine.model)) {
    const says = `there is no model at ${engine.model}`;
    checks.push({ what: `${what}: model`, outcome: 'failed', says, fix: 'Put it there, or name another.' });
  }
  return checks;
};

/** The engine saves there, and the agent reads and writes what it saved. */
const directoryChecks = (host: Host, what: string, path: string | undefined): Check[] => {
  const says = path === undefined ? undefined : host.directoryTrouble(path);
  if (says === undefined) return [];
  const fix = 'Make it a directory that the user that runs the agent can write, or name another.';
  return [{ what: `${what}: KV directory`, outcome: 'failed', says, fix }];
};

const pathAt = (url: URL, path: string): URL => new URL(enginePath(url, path), url.origin);

const headersOf = (apiKey: string | undefined): Readonly<Record<string, string>> =>
  apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };

const attachedCheck = async (
  host: Host,
  what: string,
  { url }: AttachedEngine,
  apiKey: string | undefined,
): Promise<Check> => {
  const models = pathAt(url, '/v1/models');
  const answer = await host.ask(models, headersOf(apiKey));
  const failed = (says: string, fix: string): Check => ({ what, outcome: 'failed', says, fix });
  if (typeof answer === 'string') {
    return failed(`${models} does not answer: ${answer}`, 'Start the engine, or correct its url.');
  }
  if (answer.status === 401 || answer.status === 403) {
    const fix = 'Give its key: api_key_file of this engine, or COGNITORA_ENGINE_API_KEY.';
    return failed(`${models} answers ${answer.status}: it wants a key, or another one`, fix);
  }
  if (answer.status !== 200) {
    const fix = 'Wait for it where it loads a model; else correct the url: its /v1/models must answer.';
    return failed(`${models} answers ${answer.status}`, fix);
  }
  const list = jsonRecordIn(answer.text)?.data;
  if (!Array.isArray(list)) {
    return failed(
      `${models} answers, but with no list of models`,
      'Give the url of an OpenAI-compatible API.',
    );
  }
  return {
    what,
    outcome: 'ok',
    says: `${url.origin} lists ${list.length} model${list.length === 1 ? '' : 's'}`,
  };
};

export const engineChecks = async (
  host: Host,
  profile: EngineProfile,
  config: EngineConfig,
  /** Of this replica's own. */
  directory: string,
): Promise<readonly Check[]> => {
  const what = `engine ${config.name}`;
  const { source, apiKey } = config;
  const checks =
    source.kind === 'launched'
      ? await launchedChecks(host, what, profile, config, source, directory)
      : [await attachedCheck(host, `${what}: API`, source, apiKey)];
  const asked = (path: string): ReturnType<Host['ask']> =>
    source.kind === 'attached'
      ? host.ask(pathAt(source.url, path), headersOf(apiKey))
      : Promise.resolve('it does not run yet');
  const tokenizer = await tokenizerCheck(host, `${what}: tokenizer`, config, asked);
  checks.push(...directoryChecks(host, what, source.kvDirectory));
  return [...checks, ...(tokenizer === undefined ? [] : [tokenizer]), evidenceCheck(what, profile)];
};
