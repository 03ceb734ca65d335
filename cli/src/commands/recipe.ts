/**
 * `cgn recipe`: what somebody found out once about serving a model, as one command. Lists recipes, shows all of one,
 * holds this host against it and brings it up, and ends exactly that.
 */
import { resolve } from 'node:path';
import { RepeatedSignals } from '@cognitora/protocol/repeated-signals';
import { dataOption, defaultDataDirectory } from '../admin-client.ts';
import { monotonicMs } from '../clock.ts';
import { doctorOf, planOf } from '../recipe/agent-programs.ts';
import { loadRecipe, recipeNames } from '../recipe/catalogue.ts';
import { factsOf } from '../recipe/facts.ts';
import { endKeeper, lastWordsIn, startKeeper } from '../recipe/keeping.ts';
import { gpusOf, type Recipe } from '../recipe/recipe.ts';
import { renderRecipe } from '../recipe/render.ts';
import { listReport, servedReport, showReport, stateWords } from '../recipe/report.ts';
import { requirementsOf } from '../recipe/requirements.ts';
import { isKept, nameless, stateIn } from '../recipe/state.ts';
import { Progress, say, sayJson, UserError, warn } from '../terminal.ts';
import { argumentsOf, portOf } from '../wrong-arguments.ts';
import { type Finding, findingReport } from './doctor.ts';
import { defaultPort } from './up-report.ts';

export const recipeHelp = `cgn recipe: serve a model by one command, as somebody found out once

Usage
  cgn recipe ls            which there are, what they need, which is up
  cgn recipe show NAME     all of one: what it needs, the exact commands of its engines, the daemons' files
  cgn recipe up NAME       says what this host lacks for it, each with its fix, and starts nothing; else
                           starts edge, agent and engine, and returns once a completion works; with --edge
                           once all its engines are ready and the edge has this host's link
  cgn recipe down NAME     ends exactly what "up" started

NAME is MODEL/ENGINE/TOPOLOGY, a folder of recipes/, whose README says how its engine is installed; or the
path of a recipe.toml of your own (recipes/README.md has its keys). Where an edge runs already, --edge joins
it: the token goes into COGNITORA_JOIN_TOKEN ("cgn keys join" makes one there).
One recipe is up on a data directory at a time, and not beside a "cgn up".

Options
  --port PORT       where the edge listens on 127.0.0.1 (default: ${defaultPort})
  --edge URL        join that edge instead of starting one here
  --data-dir DIR    where keys, state, models and logs are kept (default: ~/.cognitora)
  --json            JSON for programs
  --help            this text

Exit status: 0 when it is done, 1 when something is missing or failed, 2 for wrong arguments.
`;

const options = {
  port: { type: 'string', default: String(defaultPort) },
  edge: { type: 'string' },
  'data-dir': { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

interface Settings {
  readonly port: number;
  readonly joined: string | undefined;
  readonly dataDirectory: string;
  readonly json: boolean;
}

const edgeOf = (text: string | undefined): string | undefined => {
  if (text === undefined) return undefined;
  const url = /^https?:\/\//.test(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw new UserError(`--edge must be a URL such as https://edge.example.`, 2);
  if (url.username + url.password !== '') {
    throw new UserError(
      '--edge must not hold a user or a password: a host joins with COGNITORA_JOIN_TOKEN.',
      2,
    );
  }
  return url.origin;
};

/** What is up on the directory now, by name. */
const upOn = (dataDirectory: string): string | undefined => {
  const state = stateIn(dataDirectory);
  return state !== undefined && isKept(state, dataDirectory) ? state.recipe : undefined;
};

/** What is up, where it is none of this tree. */
const ownRecipe = (up: string): readonly Recipe[] => {
  try {
    return [loadRecipe(up)];
  } catch (thrown) {
    if (!(thrown instanceof UserError)) throw thrown;
    warn(`${up} is up, and its file cannot be read any more: ${thrown.message}`);
    return [];
  }
};

const list = ({ dataDirectory, json }: Settings): number => {
  const names = recipeNames();
  const up = upOn(dataDirectory);
  const own = up === undefined || names.includes(up) ? [] : ownRecipe(up);
  const recipes = [...names.map((name) => loadRecipe(name)), ...own];
  if (!json) {
    say(listReport(recipes, up));
    return 0;
  }
  sayJson(
    recipes.map((recipe) => ({
      name: recipe.name,
      summary: recipe.top.summary,
      model: recipe.model.name,
      profiles: [...new Set(recipe.engines.map(({ profile }) => profile))],
      gpus: gpusOf(recipe).length,
      platforms: recipe.host.platforms,
      state: stateWords(recipe, up),
      ...(recipe.model.download === undefined ? {} : { downloadBytes: recipe.model.download }),
      ...(recipe.top.refuses === undefined ? {} : { refuses: recipe.top.refuses }),
    })),
  );
  return 0;
};

/** The agent's file and where it would be joined. */
const agentFileOf = (recipe: Recipe, { dataDirectory, joined, port }: Settings) => ({
  agent: renderRecipe(recipe, dataDirectory).agent,
  dataDirectory,
  edge: joined ?? `http://127.0.0.1:${port}`,
});

const show = async (recipe: Recipe, settings: Settings): Promise<number> => {
  const files = renderRecipe(recipe, settings.dataDirectory);
  const plans = await planOf(agentFileOf(recipe, settings));
  const { name, top, model, host, release, kvcached } = recipe;
  if (settings.json) sayJson({ name, ...top, model, host, release, kvcached, engines: plans, files });
  else say(showReport(recipe, files, plans));
  return 0;
};

/** Everything that was looked at on this host. */
const check = async (recipe: Recipe, settings: Settings): Promise<readonly Finding[]> => {
  const { joined, port, dataDirectory } = settings;
  const file = agentFileOf(recipe, settings);
  const wanted = { recipe, edgePort: joined === undefined ? port : undefined };
  const plans = await planOf(file);
  const [facts, doctor] = await Promise.all([factsOf(wanted, dataDirectory, plans), doctorOf(file)]);
  return requirementsOf(wanted, facts, doctor);
};

const refusal = ({ name, top }: Recipe): Finding | undefined =>
  top.refuses === undefined
    ? undefined
    : { what: name, outcome: 'failed', says: top.refuses, fix: 'Take another one: cgn recipe ls' };

const sayMissing = (recipe: Recipe, checks: readonly Finding[], json: boolean): number => {
  const missing = checks.filter(({ outcome }) => outcome === 'failed');
  if (json) sayJson({ ok: false, recipe: recipe.name, checks });
  else {
    for (const finding of missing) say(findingReport(finding));
    const count = missing.length === 1 ? '1 thing is missing' : `${missing.length} things are missing`;
    say(`\n${count} for ${recipe.name}; nothing was started.`);
  }
  return 1;
};

/** Aborted by the first signal. */
const interruption = (): AbortSignal => {
  const controller = new AbortController();
  const signals = new RepeatedSignals();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (signals.heard(monotonicMs()) !== 'first') return;
      if (signal === 'SIGINT') warn('\nStopping what was started.');
      controller.abort();
    });
  }
  return controller.signal;
};

const up = async (recipe: Recipe, settings: Settings): Promise<number> => {
  const { port, joined, dataDirectory, json } = settings;
  const startedMs = monotonicMs();
  const refused = refusal(recipe);
  if (refused !== undefined) return sayMissing(recipe, [refused], json);
  const progress = new Progress(json);
  const signal = interruption();
  const stale = stateIn(dataDirectory);
  // What a killed one left would hold the port.
  if (stale !== undefined && !isKept(stale, dataDirectory)) await endKeeper(stale, dataDirectory);
  progress.update('host', 'looking at what it has');
  const checks = await check(recipe, settings);
  if (checks.some(({ outcome }) => outcome === 'failed')) {
    progress.done();
    return sayMissing(recipe, checks, json);
  }
  if (signal.aborted) throw new UserError('Stopped; nothing was started.');
  const checkMs = Math.round(monotonicMs() - startedMs);
  progress.update('host', `has all that ${recipe.name} needs`);
  try {
    const told = await startKeeper({
      ...{ recipe: recipe.name, dataDirectory, port, joined, signal },
      onStep: (step, text) => progress.update(step, text),
    });
    const served = { ...told, times: { check: checkMs, ...told.times } };
    progress.done();
    if (json) {
      const { edge: url, own, times } = served;
      const answered = own === undefined ? {} : { apiKey: own.apiKey, model: own.model };
      sayJson({ ok: true, recipe: recipe.name, url, ...answered, stagesMs: times, checks });
    } else say(servedReport(recipe, served, dataDirectory));
    return 0;
  } finally {
    progress.done();
  }
};

const down = async (named: string, { dataDirectory, json }: Settings): Promise<number> => {
  const state = stateIn(dataDirectory);
  // The file of what is up may be gone.
  const name = state?.recipe === resolve(named) ? state.recipe : loadRecipe(named).name;
  if (state !== undefined && state.recipe !== name) {
    const fix = `npm run cgn -- recipe down ${state.recipe}${dataOption(dataDirectory)}`;
    throw new UserError(`On ${dataDirectory} it is ${state.recipe} that is up: ${fix}`);
  }
  const pid = state === undefined ? nameless(dataDirectory) : undefined;
  if (pid !== undefined) {
    const fix = `kill ${pid} ends it and all that it started`;
    throw new UserError(
      `A recipe is up on ${dataDirectory}, and recipe.json there does not say which: ${fix}.`,
    );
  }
  const startedMs = monotonicMs();
  const wasUp = state !== undefined && (await endKeeper(state, dataDirectory));
  const ms = Math.round(monotonicMs() - startedMs);
  if (json) sayJson({ ok: true, recipe: name, wasUp, ms });
  else if (wasUp) say(`${name} is down, after ${(ms / 1_000).toFixed(1)} s.`);
  else {
    const said = lastWordsIn(dataDirectory);
    const ended = `${name} had ended ${said === undefined ? 'without word' : 'by itself'}`;
    if (state === undefined) say(`${name} is not up on ${dataDirectory}.`);
    else say(`${ended}; what it left is cleared away.`);
    if (said !== undefined) say(said);
  }
  return 0;
};

const actions = {
  show: (named: string, settings: Settings) => show(loadRecipe(named), settings),
  up: (named: string, settings: Settings) => up(loadRecipe(named), settings),
  down,
} as const;
const isAction = (name: string): name is keyof typeof actions => Object.hasOwn(actions, name);

export const recipe = async (argv: readonly string[]): Promise<number> => {
  const { values, positionals } = argumentsOf(argv, options, 'recipe', 'npm run -s cgn -- recipe ls --json');
  if (values.help) {
    say(recipeHelp.trimEnd());
    return 0;
  }
  const [action = 'ls', name, ...rest] = positionals;
  const settings: Settings = {
    port: portOf(values.port),
    joined: edgeOf(values.edge),
    dataDirectory: resolve(values['data-dir'] ?? defaultDataDirectory()),
    json: values.json,
  };
  if (action === 'ls' && name === undefined) return list(settings);
  if (!isAction(action))
    throw new UserError(`There is no "cgn recipe ${action}". See "cgn recipe --help".`, 2);
  if (name === undefined || rest.length > 0) {
    throw new UserError(
      `Name one recipe: cgn recipe ${action} tiny/embedded/cpu. "cgn recipe ls" shows all.`,
      2,
    );
  }
  return actions[action](name, settings);
};
