/** What `cgn up` prints once it serves, for a person to read and to paste: every command works as it stands. */
import { defaultDataDirectory } from '../admin-client.ts';
import type { Surface } from '../first-answer.ts';
import { quoted, shellWord } from '../shell-word.ts';

export interface Served {
  readonly url: string;
  readonly apiKey: string;
  readonly model: string;
  readonly surface: Surface;
  readonly isToy: boolean;
  readonly dataDirectory: string;
  /** Since the start, as text. */
  readonly seconds: string;
}

const toyNotice = (model: string, dataDirectory: string): string => `
  ${model} is a toy with random weights: it writes nonsense. For a real model:
    npm start --${dataDirectory} --model hf:OWNER/REPO/FILE.gguf     downloaded once, then the default
    npm start --${dataDirectory} --engine-url http://127.0.0.1:8000  an engine that runs already
`;

export const upReport = (served: Served): string => {
  const { url, apiKey, model, surface, dataDirectory } = served;
  // Every command finds the default directory by itself.
  const option = dataDirectory === defaultDataDirectory() ? '' : ` --data-dir ${shellWord(dataDirectory)}`;
  const body = JSON.stringify({ model, ...surface.example });
  return `
Cognitora serves ${model} (ready after ${served.seconds} s)

  endpoint  ${url}/v1
  API key   ${apiKey}
${served.isToy ? toyNotice(model, option) : ''}
  curl -N ${url}${surface.path} \\
    -H 'authorization: Bearer ${apiKey}' -H 'content-type: application/json' \\
    -d ${quoted(body)}

  Another host joins with:  npm run cgn -- keys join${option}
                            (then, there: npm run cgn -- agent --help)
  Keys:                     npm run cgn -- keys ls${option}
  Nodes:                    npm run cgn -- nodes${option}
  State and logs:           ${dataDirectory}
  Stop with Ctrl-C.`;
};
