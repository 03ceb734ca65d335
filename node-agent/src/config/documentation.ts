/** docs/agent-config.md, made of the schema's tables. `scripts/config-documents.ts` writes it. */
import { schemaDocument } from '@cognitora/protocol/config/documentation';
import type { KnownProfiles } from '../engines/known-profiles.ts';
import { crashesMax, crashWindowMs, livedMsMin } from '../supervise/limits.ts';
import { agentSchema, configVariable, defaultConfigPath, secretVariables } from './schema.ts';

const givenUpAfter =
  `${crashesMax} ends within ${crashWindowMs / 60_000} minutes, ` +
  `each within ${livedMsMin / 1_000} s of its start`;

const introduction = (profiles: KnownProfiles): string => `# The agent's configuration

Made from \`node-agent/src/config/schema.ts\` by \`node scripts/config-documents.ts\`.

\`cgn agent\` reads one TOML file: the one that \`--config\` or \`${configVariable}\` names, else
\`${defaultConfigPath}\` where that is there. An option goes before a variable, a variable before the
file, the file before the default. A key that is none is an error which names the nearest one.
\`cgn agent --check-config\` says what would be run, and ends with 0, or with 2 and what is wrong.

Secrets never stand in the file. A key ending in \`_file\` names the file that holds one; the variables are:

${Object.values(secretVariables)
  .map(([name, doc]) => `- \`${name}\`: ${doc}`)
  .join('\n')}

\`\`\`toml
edge = "https://edge.example"
join_token_file = "/etc/cognitora/join-token"

[[engine]]                      # it runs already
profile = "${profiles.names[0]}"
url = "http://127.0.0.1:8000"
kv_events = "tcp://127.0.0.1:5557"

[[engine]]                      # the agent starts two of it, each with a GPU of its own
name = "qwen"
profile = "${profiles.names[0]}"
model = "Qwen/Qwen3-8B"
replicas = 2
gpus = [0, 1]
arguments = ["--max-model-len", "16384"]
\`\`\`

Hosts share KV where each runs \`cgn kvcached\` with \`[peers]\` (docs/kvcached-config.md), and the
agent names it:

\`\`\`toml
edge = "https://edge.example"
kvcached = "/var/lib/cognitora/kvcached/kvcached.sock"

[[engine]]
profile = "${profiles.handingOver[0]}"
model = "/models/qwen.gguf"
kv_directory = "/var/lib/cognitora/slots"
\`\`\`

An engine with \`url\` runs already; one with \`model\` is started. Profiles:
${profiles.names.map((name) => `\`${name}\``).join(', ')}.

One that was started is started again when it ends. After ${givenUpAfter},
it is given up: mend the cause, then \`systemctl reload cognitora-agent\` (SIGHUP to the agent) tries
again, or start the agent anew.
`;

const titles = {
  '': 'At the top of the file',
  '[log]': '`[log]`',
  '[status]': '`[status]`',
  '[[engine]]': '`[[engine]]`, once for each kind of engine',
};

export const configDocument = (profiles: KnownProfiles): string =>
  `${[introduction(profiles).trimEnd(), ...schemaDocument(agentSchema, titles)].join('\n\n')}\n`;
