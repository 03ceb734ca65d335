/** As much of Node's files as tests of the edge use: the types of Node and of Workers do not go together. */
declare module 'node:fs' {
  export const readFileSync: (path: URL, encoding: 'utf8') => string;
}

interface ImportMeta {
  readonly url: string;
}
