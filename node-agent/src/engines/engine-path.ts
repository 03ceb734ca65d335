/** Where an engine has one of the paths that the agent asks for, by the URL that it was given. */

/**
 * `path` begins with `/v1/` or is one beside the API, such as `/health`. A URL that ends in `/v1` stands before both as
 * its part without that; one with any other path is the base of an API whose paths have no `/v1`, as client libraries
 * take it: `https://api.example/v1beta/openai` has `/v1beta/openai/chat/completions`.
 */
export const enginePath = ({ pathname }: URL, path: string): string => {
  const base = pathname.replace(/\/+$/, '');
  if (base === '') return path;
  if (base.endsWith('/v1')) return base.slice(0, -'/v1'.length) + path;
  return base + path.replace(/^\/v1(?=\/)/, '');
};
