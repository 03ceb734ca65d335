/** What `cgn agent --help` says: the options and variables, of the schema's tables. */
import { schemaHelp, sentenceless, wrapped } from '@cognitora/protocol/config/help';
import { agentSchema, configVariable, defaultConfigPath, secretVariables } from './schema.ts';

const engineOptions = [
  wrapped('  --engine-url URL', 'an OpenAI-compatible engine that runs already; repeat for several'),
  wrapped(
    '  --profile NAME',
    'which engine that is, as in docs/agent-config.md, so that its load is known and its chats are ' +
      'continued elsewhere after a failure; repeat in the order of the engines (default: any that speaks ' +
      'the API)',
  ),
  wrapped(
    '  --kv-events ENDPOINT',
    'where the engine publishes events of its KV cache, such as tcp://127.0.0.1:5557: what it holds is ' +
      'known then, not guessed; repeat in the order of the engines',
  ),
  wrapped('  --kv-events-replay ENDPOINT', 'where it answers for events that were missed; repeat likewise'),
  wrapped(
    '  --kv-directory DIR',
    'where the engine saves slots on this host (see --kvcached, --kv-handover); repeat in their order',
  ),
  wrapped('  --alias PUBLIC=SERVED', "offer the engines' model SERVED under the name PUBLIC; repeatable"),
];

export const agentHelp = (): string => `cgn agent: connect this host's engines to an edge

  The agent dials out to the edge and keeps one link open; nothing on this host listens to the network.
  On its first start it joins with a token ("cgn keys join" makes one), afterwards with the key it made here.

Usage
  cgn agent                                   with ${defaultConfigPath}
  cgn agent --edge https://edge.example --engine-url http://127.0.0.1:8000
  cgn agent status                            what the agent of this host does now

  Every key of the configuration file is in docs/agent-config.md. Options go before the environment, and that
  before the file; the engines that options name go before all of the file's.

Options
${wrapped('  --config FILE', `the configuration file (default: ${defaultConfigPath}, if it is there)`)}
${wrapped('  --check-config', 'say what would be run, without secrets, and end: 0 if it can be, else 2')}
${schemaHelp(agentSchema).join('\n')}
${engineOptions.join('\n')}
${wrapped('  --help', 'this text')}

Environment
${Object.values(secretVariables)
  .map(([name, doc]) => wrapped(`  ${name}`, sentenceless(doc)))
  .join('\n')}
${wrapped(`  ${configVariable}`, 'the configuration file')}
${wrapped('  COGNITORA_<KEY>', 'any key outside [[engine]], such as COGNITORA_REGION or COGNITORA_LOG_LEVEL')}
`;
