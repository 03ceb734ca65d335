/** Picks the command of `cgn` and turns failures into words and an exit status. */
import { version } from '@cognitora/protocol/version';
import { agent } from './commands/agent.ts';
import { doctor } from './commands/doctor.ts';
import { keys } from './commands/keys.ts';
import { kv } from './commands/kv.ts';
import { kvcached } from './commands/kvcached.ts';
import { limits } from './commands/limits.ts';
import { nodes } from './commands/nodes.ts';
import { recipe } from './commands/recipe.ts';
import { route } from './commands/route.ts';
import { up } from './commands/up.ts';
import { fileTrouble } from './file-trouble.ts';
import { say, UserError, warn } from './terminal.ts';

const commands = {
  up: { run: up, summary: 'serve an endpoint from this machine: edge, agent and engine' },
  recipe: { run: recipe, summary: 'serve a model as a recipe says: list, show, bring up, end' },
  agent: { run: agent, summary: "connect this host's engines to an edge; agent status: what it does now" },
  keys: { run: keys, summary: 'API keys and join tokens: create, list, revoke' },
  nodes: { run: nodes, summary: 'the hosts: who is linked and how busy; cordon, drain, remove one' },
  doctor: { run: doctor, summary: 'can this host do what its configuration asks for?' },
  route: { run: route, summary: 'why a request went where it went; policies of models' },
  limits: { run: limits, summary: 'how many requests models and tenants may have, and who waits' },
  kv: { run: kv, summary: "what this host's kvcached holds; pin, remove; is it well?" },
  kvcached: { run: kvcached, summary: "keep KV blocks of this host's engines in memory and on its disk" },
} as const;

const help = (): string => {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `cgn: GPU hosts anywhere, one OpenAI-compatible endpoint

Commands
${lines.join('\n')}

"npm run cgn -- COMMAND --help" says more, "npm run cgn -- --version" which this is.
Start with: npm run cgn -- up`;
};

const isCommand = (name: string): name is keyof typeof commands => Object.hasOwn(commands, name);

const main = async (): Promise<number> => {
  const [name, ...argv] = process.argv.slice(2);
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    say(help());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version') {
    say(`cgn ${version}`);
    return 0;
  }
  if (!isCommand(name)) throw new UserError(`There is no "cgn ${name}".\n\n${help()}`, 2);
  return commands[name].run(argv);
};

try {
  process.exitCode = await main();
} catch (thrown) {
  const told = thrown instanceof UserError ? thrown : fileTrouble(thrown);
  if (told === undefined) throw thrown;
  warn(told.message);
  process.exitCode = told.exitCode;
}
// A command that is over is over: nothing it left open (a keep-alive connection) may hold the terminal.
process.exit();
