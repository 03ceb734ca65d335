/** What came of a phase so far, for who watches it: streams by how they ended, and what was done to the fleet. */
import { monotonicUs } from '../machine/clock.ts';

const sumOf = (counts: ReadonlyMap<string, number>): number =>
  [...counts.values()].reduce((sum, count) => sum + count, 0);

const shown = (counts: ReadonlyMap<string, number>): readonly string[] =>
  Array.from(counts, ([what, count]) => `${count} ${what}`);

export class Progress {
  readonly #outcomes = new Map<string, number>();
  readonly #faults = new Map<string, number>();

  ended(outcome: string): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
  }

  struck(fault: string): void {
    this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1);
  }

  line(seconds: number): string {
    const { right = 0, ...others } = Object.fromEntries(this.#outcomes);
    const wrong = sumOf(new Map(Object.entries(others)));
    const how = wrong === 0 ? '' : ` (${shown(new Map(Object.entries(others))).join(', ')})`;
    const faults = Array.from(this.#faults, ([what, count]) => `${what} ${count}x`);
    return [`${seconds} s: ${right} right`, `${wrong} not${how}`, ...faults].join(', ');
  }

  /** Begins anew, and says a line every so often until what is returned is called. */
  every(ms: number, say: (line: string) => Promise<void>): () => void {
    this.#outcomes.clear();
    this.#faults.clear();
    const beganUs = monotonicUs();
    const timer = setInterval(() => {
      void say(this.line(Math.round((monotonicUs() - beganUs) / 1e6)));
    }, ms);
    return () => clearInterval(timer);
  }
}
