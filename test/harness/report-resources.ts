/**
 * Loaded into a program before it starts (`--import`): on SIGUSR2 it says on standard output, as one line of JSON,
 * what keeps its event loop busy, by kind. So a test sees a program's timers and sockets without a hook in it.
 */
process.on('SIGUSR2', () => {
  const resources: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
  process.stdout.write(`${JSON.stringify({ event: 'resources', resources })}\n`);
});
