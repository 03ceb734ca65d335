/** A real engine, launched with just what its profile renders; it ends with the tests that use it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../cli/src/free-port.ts';
import type { LaunchedEngine } from '../../node-agent/src/engines/engine-config.ts';
import { launchOf } from '../../node-agent/src/engines/profiles/launch.ts';
import type { EngineProfile } from '../../node-agent/src/engines/profiles/profile.ts';
import { launchedEngine, launchPlan } from '../../node-agent/testing/launch-plans.ts';
import { environmentAt } from '../harness/environment.ts';
import { pause } from '../harness/until.ts';
import type { Subject } from './conformance.ts';

const stopMsMax = 10_000;

export class LaunchedProgram {
  readonly subject: Subject;
  readonly #child: ChildProcess;
  readonly #directory: string;
  #said = '';

  private constructor(child: ChildProcess, subject: Subject, directory: string) {
    this.#child = child;
    this.subject = subject;
    this.#directory = directory;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        this.#said = (this.#said + bytes.toString()).slice(-20_000);
      });
    }
  }

  /** `arguments` of `more` may hold `{directory}`, a directory of its own. */
  static async start(profile: EngineProfile, more: Partial<LaunchedEngine>): Promise<LaunchedProgram> {
    const directory = mkdtempSync(join(tmpdir(), 'cognitora-launched-'));
    const ports = { http: await freePort(), transfer: await freePort() };
    const own = more.arguments?.map((word) => word.replace('{directory}', directory)) ?? [];
    const config = launchedEngine({ gpus: [], ...more, arguments: own });
    const plan = launchPlan({ config, ports, directory });
    const { program, argv, environment, kvEvents } = launchOf(profile, plan);
    const child = spawn(program, [...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...environmentAt(directory), ...Object.fromEntries(environment) },
    });
    const subject = {
      url: `http://127.0.0.1:${ports.http}`,
      model: config.servedName ?? config.model,
      ...(kvEvents === undefined ? {} : { events: kvEvents.events }),
    };
    return new LaunchedProgram(child, subject, directory);
  }

  /** The end of its output. */
  get said(): string {
    return this.#said;
  }

  /** Undefined while it runs. */
  get status(): number | undefined {
    return this.#child.exitCode ?? undefined;
  }

  async stop(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) resolve();
      else this.#child.once('exit', () => resolve());
    });
    this.#child.kill('SIGTERM');
    await Promise.race([gone, pause(stopMsMax)]);
    this.#child.kill('SIGKILL');
    await gone;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
