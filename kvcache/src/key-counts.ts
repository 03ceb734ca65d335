/** How many keys each prefix has, up to the first colon: so that nobody walks over all keys to count a namespace's. */
export class KeyCounts {
  readonly #counts = new Map<string, number>();

  of(prefix: string): number {
    return this.#counts.get(prefix) ?? 0;
  }

  came(key: string): void {
    const prefix = prefixIn(key);
    this.#counts.set(prefix, this.of(prefix) + 1);
  }

  went(key: string): void {
    const prefix = prefixIn(key);
    const left = this.of(prefix) - 1;
    if (left > 0) this.#counts.set(prefix, left);
    else this.#counts.delete(prefix);
  }
}

const prefixIn = (key: string): string => key.slice(0, key.indexOf(':') + 1);
