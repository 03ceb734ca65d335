/** Bounds of what a configuration file of either daemon may say, each with its reason. */

/** 64 engines with a page of arguments each stay below it; what is larger is another file. */
export const configBytesMax = 256 * 1024;
/** A key or token with its line's end is a few hundred bytes at most. */
export const secretBytesMax = 16 * 1024;
/** Characters of one argument, path or value: a JSON document as an argument is the longest. */
export const textCharsMax = 8 * 1024;
