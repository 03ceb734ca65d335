/**
 * Changes of the context's sequences (cut, emptied, saved, loaded) between its batches. The library takes one lock for
 * a change and for a run of batches, and a run does not end while any sequence has a token to evaluate: beside a few
 * that generate, a change waited until they were done. So none evaluates while a change is wanted. Evaluates nothing.
 */
export class ContextChanges {
  readonly #wanted = new Set<Promise<unknown>>();

  /** `work` asks the library for one change, and resolves once it is made. */
  async make<T>(work: () => Promise<T>): Promise<T> {
    const made = work();
    this.#wanted.add(made);
    try {
      return await made;
    } finally {
      this.#wanted.delete(made);
    }
  }

  /** Awaited before each evaluation: at most one batch of those under way stands before a change. */
  async settled(): Promise<void> {
    while (this.#wanted.size > 0) await Promise.allSettled(this.#wanted);
  }
}
