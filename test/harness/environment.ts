/** The environment of programs that a test starts: next to nothing of its own. */

export const environmentAt = (home: string): Readonly<Record<string, string | undefined>> => ({
  PATH: process.env.PATH,
  HOME: home,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
});
