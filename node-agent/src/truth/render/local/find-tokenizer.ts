/**
 * Where a model's tokenizer lies on this host: a directory, or the Hugging Face cache under the model's name. Decides;
 * the files are given. Never fetches anything.
 *
 *   <hub>/models--<owner>--<name>/refs/main -> revision,  .../snapshots/<revision>/tokenizer.json
 */
import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export const tokenizerFile = 'tokenizer.json';

export interface TokenizerFiles {
  readonly isFile: (path: string) => boolean;
  /** Undefined: it is not there, or too long for one line. */
  readonly line: (path: string) => string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** `name` or `owner/name`, of which no part leads elsewhere. */
const hubName = /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)?$/;
const revision = /^[\w-][\w.-]*$/;

export const hubDirectory = (environment: Environment): string => {
  const { HF_HUB_CACHE: hub, HF_HOME: home, XDG_CACHE_HOME: cache } = environment;
  return hub ?? join(home ?? join(cache ?? join(homedir(), '.cache'), 'huggingface'), 'hub');
};

const inHub = (name: string, environment: Environment, files: TokenizerFiles): string | undefined => {
  if (!hubName.test(name)) return undefined;
  const model = join(hubDirectory(environment), `models--${name.replace('/', '--')}`);
  const current = files.line(join(model, 'refs', 'main')) ?? '';
  return revision.test(current) ? join(model, 'snapshots', current) : undefined;
};

/** The directory with its files; undefined where there is none here. */
export const findTokenizer = (
  name: string,
  environment: Environment,
  files: TokenizerFiles = hostFiles,
): string | undefined =>
  [resolve(name), inHub(name, environment, files)].find(
    (directory) => directory !== undefined && files.isFile(join(directory, tokenizerFile)),
  );

const lineBytesMax = 256;

export const hostFiles: TokenizerFiles = {
  isFile: (path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true,
  line: (path) => {
    const found = statSync(path, { throwIfNoEntry: false });
    const isLine = found?.isFile() === true && found.size <= lineBytesMax;
    return isLine ? readFileSync(path, 'utf8').trim() : undefined;
  },
};
