/** Of all of Cognitora: programs, packages and releases. docs/design/0012-release.md has how to raise it. */
export const version = '0.1.0';
