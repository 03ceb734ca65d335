/**
 * Loaded into a program before it starts (`--import`): on SIGUSR2 it says on standard output, as one line of JSON,
 * what keeps its event loop busy, by kind. A test sees the program's timers and sockets, and the program needs no hook.
 */
process.on('SIGUSR2', () => {
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  process.stdout.write(`${JSON.stringify({ event: 'resources', resources })}\n`);
});
