/** What nobody caught: such an error ends an agent, and loses an object its turn. The run is told, not the runner. */
const events = ['uncaughtException', 'unhandledRejection'] as const;

const stackOf = (thrown: unknown): string =>
  thrown instanceof Error ? String(thrown.stack) : String(thrown);

/** Runs `work` with every stray error of its time told to `onError`, and nobody else. */
export const withStrayErrors = async <Value>(
  onError: (what: string) => void,
  work: () => Promise<Value>,
): Promise<Value> => {
  const tell = (thrown: unknown): void => onError(stackOf(thrown).split('\n').slice(0, 4).join(' '));
  const others = events.map((event) => ({ event, listeners: process.rawListeners(event) }));
  for (const event of events) process.removeAllListeners(event).on(event, tell);
  try {
    return await work();
  } finally {
    for (const { event, listeners } of others) {
      process.removeListener(event, tell);
      for (const listener of listeners) process.on(event, listener as () => void);
    }
  }
};
