/**
 * A signal ends a bench through `process.exit`, so that the exit handlers of what it started run and no
 * process stays behind. Import for its effect, once, in a program's main module.
 */
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(130));
}
