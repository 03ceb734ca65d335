/** As much of Node's own SQLite as tests of the edge use: the types of Node and of Workers do not go together. */
declare module 'node:sqlite' {
  export class DatabaseSync {
    constructor(path: string);
    exec(text: string): void;
    prepare(text: string): {
      all(...values: (string | number | null)[]): Record<string, string | number | null>[];
    };
  }
}
