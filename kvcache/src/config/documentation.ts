/** docs/kvcached-config.md, made of the schema's tables. `scripts/config-documents.ts` writes it. */
import { schemaDocument } from '@cognitora/protocol/config/documentation';
import { configVariable, defaultConfigPath, kvcachedSchema, secretVariables } from './schema.ts';

const introduction = `# kvcached's configuration

Made from \`kvcache/src/config/schema.ts\` by \`node scripts/config-documents.ts\`.

\`cgn kvcached\` needs none. It reads one TOML file: the one that \`--config\` or
\`${configVariable}\` names, else \`${defaultConfigPath}\` where that is there.
An option goes before a variable, a variable before the file, the file before the default. A key that is
none is an error which names the nearest one; all that is wrong is told at once.
\`cgn kvcached --check-config\` says what would be run, and ends with 0, or with 2 and what is wrong.

Secrets never stand in the file. A key ending in \`_file\` names the file that holds one; the variables are:

${Object.values(secretVariables)
  .map(([name, doc]) => `- \`${name}\`: ${doc}`)
  .join('\n')}

\`\`\`toml
ram = "16GiB"
disk = "200GiB"

[[namespace]]                   # what LMCache stores into database 0
database = 0
fields = { model = "Qwen/Qwen3-8B", dtype = "bf16", layout = "tp1", block_tokens = 256 }

[[mirror]]                      # what another engine offloads to files
directory = "/var/lib/engine/kv"
fields = { model = "Qwen/Qwen3-32B", engine = "vllm 0.12.0" }
max_bytes = "100GiB"

[peers]                         # other hosts fetch from here, and this one from them
listen = ["0.0.0.0:6381"]
\`\`\`

A database without a \`[[namespace]]\` is namespace \`db<N>\`, whose values stay on this host:
nobody knows what they were computed with. Where hosts share (\`[peers]\`), name the fields of each.

Sharing also needs the agent of this host, which joins its fleet, makes the key that \`identity\` names and
tells kvcached who else there is: start it first, with the path of our \`socket\` as \`kvcached\` in its file.
\`cgn kv doctor\` then writes to and reads from each of the others.`;

const titles = {
  '': 'At the top of the file',
  '[peers]': '`[peers]`',
  '[[namespace]]': '`[[namespace]]`, once for each Redis database that other hosts share',
  '[[mirror]]': '`[[mirror]]`, once for each directory',
  fields: '`fields` of a namespace or a mirror',
};

export const configDocument = (): string =>
  `${[introduction, ...schemaDocument(kvcachedSchema, titles)].join('\n\n')}\n`;
