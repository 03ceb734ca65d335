/** A wrong configuration: the message says what to do, a line for each mistake. */
export class ConfigError extends Error {}

/** Mistakes that are told together, so that nobody has to mend them one start after the other. */
export class Problems {
  readonly #messages: string[] = [];

  /** What it returns; undefined where it throws a `ConfigError`, which is kept. */
  within<Value>(run: () => Value): Value | undefined {
    try {
      return run();
    } catch (thrown) {
      if (!(thrown instanceof ConfigError)) throw thrown;
      this.#messages.push(thrown.message);
      return undefined;
    }
  }

  /** Throws one `ConfigError` of all that were kept. */
  throwIfAny(): void {
    if (this.#messages.length > 0) throw new ConfigError(this.#messages.join('\n'));
  }
}
