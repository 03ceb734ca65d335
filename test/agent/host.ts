/** An agent as a host's owner runs it: a directory, one TOML file, and engines that it starts; and fakes for those. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ReplicaStatus, StatusAnswer } from '@cognitora/protocol/agent-status';
import { cgnJson } from '../cli/run-cgn.ts';
import type { Failure, Looks } from '../fakes/engines/fake.ts';
import type { Cluster } from '../harness/cluster.ts';
import { type Leftover, leftoversOf } from '../harness/leftovers.ts';
import type { Program } from '../harness/program.ts';
import { until } from '../harness/until.ts';

const agentMain = resolve(import.meta.dirname, '../../node-agent/src/main.ts');
const fakeProgram = resolve(import.meta.dirname, '../fakes/engine-program.ts');
/** On a host with other work, a model's file is made and loaded. */
const upMsMax = 60_000;

export interface Joining {
  readonly cluster: Cluster;
  readonly joinToken: string;
}

/** An agent with its own directory, whose engines the text of TOML tables names. */
export class Host {
  readonly name: string;
  readonly directory: string;
  program: Program;

  readonly #cluster: Cluster;
  readonly #joinToken: string;

  constructor({ cluster, joinToken }: Joining, name: string, engines: string) {
    this.#cluster = cluster;
    this.#joinToken = joinToken;
    this.name = name;
    this.directory = join(cluster.directory, name);
    mkdirSync(this.directory);
    const top = `edge = "${cluster.url}"\nname = "${name}"\ndata_dir = "${this.directory}"\n`;
    writeFileSync(join(this.directory, 'agent.toml'), top + engines);
    this.program = this.start();
  }

  start(): Program {
    const argv = [agentMain, '--config', join(this.directory, 'agent.toml')];
    this.program = this.#cluster.startProgram(this.name, argv, {
      COGNITORA_JOIN_TOKEN: this.#joinToken,
    });
    return this.program;
  }

  status(): Promise<StatusAnswer> {
    return cgnJson(['agent', 'status', '--data-dir', this.directory]);
  }

  /** As `/status` says, without a program in between. */
  async replica(name: string): Promise<ReplicaStatus | undefined> {
    const { url } = JSON.parse(readFileSync(join(this.directory, 'status.json'), 'utf8')) as { url: string };
    const status = (await (await fetch(`${url}/status`)).json()) as StatusAnswer;
    return status.replicas.find((replica) => replica.name === name);
  }

  replicaIs(
    what: string,
    name: string,
    is: (replica: ReplicaStatus) => boolean,
    msMax = upMsMax,
  ): Promise<ReplicaStatus> {
    const look = async () => {
      const replica = await this.replica(name).catch(() => undefined);
      return replica !== undefined && is(replica) && replica;
    };
    return until(`${name} of ${this.name} ${what}`, look, msMax);
  }

  /** Ready by the host's own word and by the edge's, which hears of it a moment later. */
  async ready(name: string): Promise<ReplicaStatus> {
    const replica = await this.replicaIs('to be ready', name, ({ state }) => state === 'ready');
    await this.#cluster.node(this.name, ({ replicas }) =>
      replicas.some((told) => told.name === name && told.state === 'ready'),
    );
    return replica;
  }

  /** Processes of its engines. */
  engines(): readonly Leftover[] {
    const { pid } = this.program;
    return leftoversOf(this.directory).filter((process) => process.pid !== pid);
  }
}

/** A table of a fake engine; `environment` is what it is told beside its kind, `more` are further keys. */
export const fakeEngine = (name: string, environment: string, more = ''): string =>
  `[[engine]]\nname = "${name}"\nprofile = "vllm"\nmodel = "${name}"\ncommand = "${fakeProgram}"\n` +
  `environment = { FAKE_ENGINE = "vllm", ${environment} }\n${more}\n`;

/** Says to a running fake what it does from now on, in words of `../fakes/engines/fake.ts`. */
export const tellFake = async (
  { launch }: ReplicaStatus,
  what: 'failure' | 'looks',
  word: Failure | Looks,
): Promise<void> => {
  const url = /serving .* at (\S+)/.exec(launch?.lastLines.join('\n') ?? '')?.[1];
  const answer = await fetch(`${url}/fake/${what}`, { method: 'PUT', body: word });
  if (answer.status !== 200) throw new Error(`the fake does not know ${what} "${word}"`);
};

/** A streamed chat under way, as its bytes come. */
export interface OpenChat {
  readonly status: number;
  /** Resolves with its first bytes. */
  readonly begun: Promise<void>;
  /** All of it, once it is over, however it ends. */
  readonly text: Promise<string>;
  onText(listener: () => void): void;
  leave(): void;
}

export const openChat = async (cluster: Cluster, model: string): Promise<OpenChat> => {
  const controller = new AbortController();
  const answer = await fetch(`${cluster.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${cluster.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Count.' }], stream: true }),
    signal: controller.signal,
  });
  const listeners: (() => void)[] = [];
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const read = async (): Promise<string> => {
    const decoder = new TextDecoder();
    let text = '';
    try {
      for await (const part of answer.body ?? []) {
        text += decoder.decode(part, { stream: true });
        begin();
        for (const listener of listeners) listener();
      }
    } catch {
      // It ends where the connection does.
    }
    return text;
  };
  return {
    status: answer.status,
    begun,
    text: read(),
    onText: (listener) => listeners.push(listener),
    leave: () => controller.abort(),
  };
};

/** What the chunks of a stream say. */
export const wordsOf = (text: string): readonly string[] =>
  [...text.matchAll(/"content":"([^"]*)"/g)].map(([, word = '']) => word.trim());
