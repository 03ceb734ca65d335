/** What engines noted of each request, in order: which of them had it, and with how much of an answer. Pure. */
import type { EngineNote } from './engine-messages.ts';

export interface Stop extends EngineNote {
  readonly engine: string;
  readonly us: number;
}

/** How a request got along, as its engines saw it. */
export interface Travel {
  /** Began at an engine with a part of the answer. */
  readonly continuations: number;
  /** Began from nothing, after the first time. */
  readonly retries: number;
}

export class Trails {
  readonly #byRequest = new Map<string, Stop[]>();

  add(stop: Stop): void {
    const stops = this.#byRequest.get(stop.requestId);
    if (stops === undefined) this.#byRequest.set(stop.requestId, [stop]);
    else stops.push(stop);
  }

  of(requestId: string): readonly Stop[] {
    return this.#byRequest.get(requestId) ?? [];
  }

  travelOf(requestId: string): Travel {
    const begun = this.of(requestId).filter(({ kind }) => kind === 'begun');
    const continuations = begun.filter(({ emittedWords }) => emittedWords > 0).length;
    return { continuations, retries: Math.max(0, begun.length - continuations - 1) };
  }

  /** For people who ask why. */
  tell(requestId: string, zeroUs: number): string {
    return this.of(requestId)
      .map(({ engine, kind, emittedWords, us }) => {
        const seconds = ((us - zeroUs) / 1e6).toFixed(2);
        return `${seconds} s ${engine} ${kind}${emittedWords > 0 ? ` behind ${emittedWords} words` : ''}`;
      })
      .join('; ');
  }
}
