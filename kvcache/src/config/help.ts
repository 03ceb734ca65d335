/** What `cgn kvcached --help` says: the options and variables, of the schema's tables. */
import { schemaHelp, sentenceless, wrapped } from '@cognitora/protocol/config/help';
import { configVariable, defaultConfigPath, kvcachedSchema, secretVariables } from './schema.ts';

export const kvcachedHelp =
  (): string => `cgn kvcached: keep KV blocks of this host's engines in memory and on its disk

  Engines store into it unpatched: LMCache with remote_url "redis://127.0.0.1:6379" or its multi-process
  "resp" adapter; or by files, with a [[mirror]] of the directory that they offload to. Values have from 1
  byte to 64 MiB; a full store evicts, and never grows beyond its sizes. "cgn kv" shows what it holds.

Usage
  cgn kvcached                                with ${defaultConfigPath}
  cgn kvcached --data-dir DIR --ram 16GiB --disk 200GiB

  Every key of the configuration file is in docs/kvcached-config.md. Options go before the environment, and
  that before the file. Lists are separated by commas.

Options
${wrapped('  --config FILE', `the configuration file (default: ${defaultConfigPath}, if it is there)`)}
${wrapped('  --check-config', 'say what would be run, without secrets, and end: 0 if it can be, else 2')}
${schemaHelp(kvcachedSchema).join('\n')}
${wrapped('  --help', 'this text')}

Environment
${Object.values(secretVariables)
  .map(([name, doc]) => wrapped(`  ${name}`, sentenceless(doc)))
  .join('\n')}
${wrapped(`  ${configVariable}`, 'the configuration file')}
${wrapped('  COGNITORA_KV_<KEY>', 'any key outside [[namespace]] and [[mirror]], such as COGNITORA_KV_RAM')}
`;
