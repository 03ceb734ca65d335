/** Text as one word of a POSIX shell, so that what `cgn` prints can be pasted. Plain words stay as they are. */
export const shellWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : quoted(text));

/** In single quotes whatever it is, as JSON in a command reads best. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
