/** A port that another program has, in words that say what to do. Knows no server. */

const redisPort = 6_379;

/** What the server's start resolves to. Throws what it throws, `EADDRINUSE` with the option that names another. */
export const unlessInUse = async <Started>(option: string, start: Promise<Started>): Promise<Started> => {
  try {
    return await start;
  } catch (thrown) {
    if (!(thrown instanceof Error) || !('code' in thrown) || thrown.code !== 'EADDRINUSE') throw thrown;
    const { address, port } = thrown as Error & { readonly address?: string; readonly port?: number };
    const place =
      port === undefined ? address : `${address?.includes(':') ? `[${address}]` : address}:${port}`;
    const who = port === redisPort ? ' (redis-server?)' : '';
    throw new Error(`Something listens on ${place} already${who}: stop it, or choose another ${option}.`);
  }
};
