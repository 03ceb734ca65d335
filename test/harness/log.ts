/** What the processes of a cluster said, bounded, with the time since the cluster began: printed when a test fails. */
import type { Readable } from 'node:stream';

const linesMax = 2_000;

export class ClusterLog {
  readonly #lines: string[] = [];
  readonly #startedMs = performance.now();

  add(who: string, line: string): void {
    const seconds = ((performance.now() - this.#startedMs) / 1000).toFixed(3);
    this.#lines.push(`${seconds.padStart(8)} ${who}: ${line}`);
    if (this.#lines.length > linesMax) this.#lines.shift();
  }

  /** Adds each line of a stream, and hands it on. */
  follow(who: string, stream: Readable, accept: (line: string) => void = () => {}): void {
    let held = '';
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      const lines = (held + text).split('\n');
      held = lines.pop() ?? '';
      for (const line of lines) {
        this.add(who, line);
        accept(line);
      }
    });
  }

  text(): string {
    return this.#lines.join('\n');
  }
}
