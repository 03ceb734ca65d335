/** Writes a value as one word of a POSIX shell. Pure. */

/** In single quotes, whatever it holds. */
export const quoted = (value: string): string => `'${value.replaceAll("'", "'\\''")}'`;
