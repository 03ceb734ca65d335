/** What `cgn up` prints once it serves, for a person to read and to paste: every command works as it stands. */
import { dataOption } from '../admin-client.ts';
import type { Surface } from '../first-answer.ts';
import { quoted } from '../shell-word.ts';

/** Of `cgn up`. */
export const defaultPort = 8_080;

export interface Served {
  readonly url: string;
  readonly apiKey: string;
  readonly model: string;
  readonly surface: Surface;
  readonly isToy: boolean;
  /** An engine that ran already, of which nobody said what it is. */
  readonly isUnnamed: boolean;
  readonly dataDirectory: string;
  readonly port: number;
  /** Since the start, as text. */
  readonly seconds: string;
}

const toyNotice = (model: string, options: string): string => `
  ${model} is a toy with random weights: it writes nonsense. For a real model:
    npm start --${options} --model hf:OWNER/REPO/FILE.gguf     downloaded once, then the default
    npm start --${options} --engine-url http://127.0.0.1:8000 --profile vllm
                                     an engine that runs already: vllm, sglang, llama-cpp, ...
`;

const unnamedNotice = `
  Which engine that is was not said: its chats are not continued elsewhere after a failure, and how much it
  takes at once is not learned. Name it behind --engine-url: --profile vllm, sglang, llama-cpp, ...
`;

export const upReport = (served: Served): string => {
  const { url, apiKey, model, surface, dataDirectory, port } = served;
  // Every command finds the default directory by itself.
  const option = dataOption(dataDirectory);
  // That of the next start; the other commands find the edge by what lies in the directory.
  const start = `${option}${port === defaultPort ? '' : ` --port ${port}`}`;
  const body = JSON.stringify({ model, ...surface.example });
  return `
Cognitora serves ${model} (ready after ${served.seconds} s)

  endpoint  ${url}/v1
  API key   ${apiKey}
${served.isToy ? toyNotice(model, start) : ''}${served.isUnnamed ? unnamedNotice : ''}
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
