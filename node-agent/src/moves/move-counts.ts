/** What became of one replica's moves since the agent started. Counts; keeps nothing of a move. */
import type { MoveFigures, MoveRefusal, MovesStatus } from '@cognitora/protocol/agent-status';

interface Figures extends MoveFigures {
  count: number;
  bytes: number;
  ms: number;
}

const none = (): Figures => ({ count: 0, bytes: 0, ms: 0 });

const add = (figures: Figures, bytes: number, ms: number): void => {
  figures.count += 1;
  figures.bytes += bytes;
  figures.ms += Math.round(ms);
};

export class MoveCounts {
  readonly #saved = none();
  readonly #restored = none();
  /** By a closed set. */
  readonly #refused = new Map<MoveRefusal, number>();

  saved(bytes: number, ms: number): void {
    add(this.#saved, bytes, ms);
  }

  restored(bytes: number, ms: number): void {
    add(this.#restored, bytes, ms);
  }

  refused(why: MoveRefusal): void {
    this.#refused.set(why, (this.#refused.get(why) ?? 0) + 1);
  }

  get figures(): Omit<MovesStatus, 'canMove'> {
    return {
      saved: { ...this.#saved },
      restored: { ...this.#restored },
      refused: Object.fromEntries(this.#refused),
    };
  }
}
