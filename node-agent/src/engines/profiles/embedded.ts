/** The embedded engine of this repository (llama.cpp in process), as a program beside the agent. */

import { fileURLToPath } from 'node:url';
import { behindPrompt, inFinalMessage } from './continuing.ts';
import { eventSockets } from './event-sockets.ts';
import type { EngineProfile, LaunchPlan } from './profile.ts';

/** A program of another room: never imported. */
const main = fileURLToPath(new URL('../../../../embedded-engine/src/main.ts', import.meta.url));

const argvOf = (plan: LaunchPlan): readonly string[] => {
  const { config, host, ports } = plan;
  const { events, replay } = eventSockets(plan);
  return [
    ...[main, '--model', config.model, '--host', host, '--port', String(ports.http)],
    ...(config.servedName === undefined ? [] : ['--served-name', config.servedName]),
    ...['--kv-events', events, '--kv-events-replay', replay],
    ...(config.kvDirectory === undefined ? [] : ['--slot-save-path', config.kvDirectory]),
  ];
};

export const embedded: EngineProfile = {
  name: 'embedded',
  launching: {
    program: process.execPath,
    helpArgv: [main, '--help'],
    splits: 'never',
    namesModel: true,
    keepsKvOnDisk: ['none'],
    render: (plan) => ({
      argv: argvOf(plan),
      kvEvents: eventSockets(plan),
    }),
  },
  health: { path: '/health', whileLoading: 'status 503' },
  metrics: {
    path: '/metrics',
    running: ['cognitora_engine_requests_running'],
    waiting: ['cognitora_engine_requests_waiting'],
    kvUsage: {
      used: ['cognitora_engine_kv_blocks_in_use'],
      capacity: ['cognitora_engine_kv_blocks_capacity'],
    },
    promptTokens: ['cognitora_engine_prompt_tokens_total'],
    promptTokensAreAll: true,
    cachedTokens: ['cognitora_engine_cached_prompt_tokens_total'],
    generatedTokens: ['cognitora_engine_generated_tokens_total'],
    preemptions: [],
  },
  kvEvents: { kind: 'zmq' },
  renders: 'template, then tokens',
  handsOver: 'slots',
  continues: new Map([inFinalMessage, behindPrompt]),
  reportsProgress: false,
  reportsCachedTokens: true,
  offloads: { none: ['both'] },
  evidence: [{ kind: 'run', program: 'embedded-engine' }],
};
