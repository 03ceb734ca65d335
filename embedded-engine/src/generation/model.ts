/**
 * Loads a GGUF file with llama.cpp and offers what the engine needs of it: tokens, sequences, grammars,
 * embeddings. Together with `generate.ts` the only file that talks to `node-llama-cpp`. It knows nothing of
 * HTTP or KV events.
 */

import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import {
  getLlama,
  type Llama,
  type LlamaContext,
  type LlamaContextSequence,
  LlamaGrammarEvaluationState,
  LlamaLogLevel,
  type LlamaModel,
  type Token,
} from 'node-llama-cpp';
import * as limits from '../limits.ts';
import { type Log, messageOf } from '../log.ts';
import { WrongModel } from '../models/resolve.ts';
import { contextExceeded, unsupported } from '../openai/errors.ts';
import type { OutputFormat } from '../openai/response-format.ts';
import { createChatTemplate, type RenderChat } from './chat-template.ts';
import { createVocabulary, type Vocabulary } from './vocabulary.ts';

export interface LoadSettings {
  readonly path: string;
  readonly toy: boolean;
  readonly sequences: number;
  readonly contextTokens: number;
  readonly threads: number | undefined;
}

/** What the output must look like. */
export interface Constraint {
  /** A new state for each choice; `undefined` for free text. */
  start(): LlamaGrammarEvaluationState | undefined;
  /** Where the grammar ends, beyond the stop strings of the request. */
  readonly stops: readonly string[];
}

export interface LoadedModel {
  readonly model: LlamaModel;
  /** The file. */
  readonly path: string;
  /** Of llama.cpp. */
  readonly build: string;
  readonly sequences: readonly LlamaContextSequence[];
  readonly vocabulary: Vocabulary;
  /** Tokens that one sequence can hold, prompt and answer together. */
  readonly contextTokens: number;
  readonly threads: number;
  /** False for architectures whose state can't be cut back to an earlier token (recurrent ones). */
  readonly canTrim: boolean;
  readonly renderChat: RenderChat;
  /** Whether the token ends the text (end of turn, end of sequence). */
  isEnd(token: number): boolean;
  /** Token ids of a text; with `addSpecial` the model's start token comes first if it wants one. */
  tokenize(text: string, addSpecial: boolean, parseSpecial?: boolean): number[];
  /** The grammar that an output format asks for; refuses a schema that can't be one. */
  compile(format: OutputFormat): Promise<Constraint>;
  embed(tokens: readonly number[]): Promise<readonly number[]>;
}

/** Any JSON object and nothing after it, so that the model can only end there. */
const jsonObjectGrammar = String.raw`root ::= object
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws ( string ":" ws value ( "," ws string ":" ws value )* )? "}"
array ::= "[" ws ( value ( "," ws value )* )? "]"
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" ( ["\\bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\""
number ::= "-"? ( [0-9] | [1-9] [0-9]{0,15} ) ( "." [0-9]{1,15} )? ( [eE] [-+]? [0-9]{1,3} )?
ws ::= | " " | "\n" [ \t]{0,20}
`;

/** node-llama-cpp lets a schema's grammar run on with line breaks; four in a row are its agreed end. */
const schemaEnd = '\n\n\n\n';

async function startLlama(settings: LoadSettings, log: Log): Promise<Llama> {
  return await getLlama({
    gpu: settings.toy ? false : 'auto',
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    maxThreads: 0,
    logLevel: LlamaLogLevel.error,
    logger: (_level, message) => log({ event: 'warning', message: `llama.cpp: ${message.trim()}` }),
  });
}

async function createContext(
  model: LlamaModel,
  settings: LoadSettings,
  threads: number,
): Promise<LlamaContext> {
  return await model.createContext({
    contextSize: settings.contextTokens,
    sequences: settings.sequences,
    batchSize: limits.batchTokens,
    threads,
    // Without the full cache a sliding-window model can't go back to a prefix.
    swaFullCache: true,
    // On a CPU flash attention makes decoding of long contexts 2.5 x slower (measured: 28 and 74 tokens/s).
    flashAttention: model.llama.gpu === false ? false : 'auto',
    // With full precision it hardly matters how a prompt was cut into batches and what else was in them: the
    // toy's log-probabilities move by 0.000003 (measured), and so its greedy text stays.
    ...(settings.toy ? { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32' } : {}),
  });
}

function createTokenizer(
  model: LlamaModel,
  vocabulary: Vocabulary,
  contextTokens: number,
): LoadedModel['tokenize'] {
  const bos = model.tokens.shouldPrependBosToken ? model.tokens.bos : null;
  return (text, addSpecial, parseSpecial = true) => {
    // Tokenizing is synchronous: a text that can't fit must not stop the event loop for seconds.
    const tokensMin = Math.ceil(Buffer.byteLength(text) / vocabulary.pieceBytesMax);
    if (tokensMin > contextTokens) throw contextExceeded(`more than ${tokensMin}`, contextTokens);
    const tokens: number[] = model.tokenize(text, parseSpecial);
    if (addSpecial && bos !== null && tokens[0] !== bos) tokens.unshift(bos);
    return tokens;
  };
}

function createCompile(llama: Llama, model: LlamaModel): LoadedModel['compile'] {
  return async (format) => {
    if (format.kind === 'text') return { start: () => undefined, stops: [] };
    if (format.kind === 'json') {
      const grammar = await llama.createGrammar({ grammar: jsonObjectGrammar });
      return { start: () => new LlamaGrammarEvaluationState({ model, grammar }), stops: [] };
    }
    try {
      // The schema was checked keyword by keyword in `openai/response-format.ts`; the library's type is
      // narrower.
      const schema = format.schema as Parameters<Llama['createGrammarForJsonSchema']>[0];
      const grammar = await llama.createGrammarForJsonSchema(schema);
      const start = () => new LlamaGrammarEvaluationState({ model, grammar });
      start();
      return { start, stops: [schemaEnd] };
    } catch {
      throw unsupported('response_format', 'The schema could not be turned into a grammar.');
    }
  };
}

/**
 * Embeddings need a context of their own; it is made when the first request comes, and inputs queue for it.
 */
function createEmbed(model: LlamaModel, contextTokens: number, threads: number): LoadedModel['embed'] {
  const contextSize = Math.min(contextTokens, limits.embeddingTokensMax);
  let context: ReturnType<LlamaModel['createEmbeddingContext']> | undefined;
  return async (tokens) => {
    if (tokens.length >= contextSize) throw contextExceeded(tokens.length, contextSize);
    context ??= model.createEmbeddingContext({
      contextSize,
      batchSize: contextSize,
      threads,
    });
    const ready = await context;
    const { vector } = await ready.getEmbeddingFor(tokens.slice() as Token[]);
    const length = Math.hypot(...vector);
    if (!(length > 0)) throw unsupported('input', 'This model gives no embedding for the input.');
    return vector.map((component) => component / length);
  };
}

/** llama.cpp reports each tensor; a line per tenth is enough. */
function createLoadProgress(log: Log): (share: number) => void {
  let tenths = 0;
  return (share) => {
    if (share * 10 < tenths + 1) return;
    tenths = Math.floor(share * 10);
    log({ event: 'load', message: `loaded ${tenths * 10} %`, percent: tenths * 10 });
  };
}

/** Loads the file. Throws with llama.cpp's reason when it can't. */
export async function loadModel(settings: LoadSettings, log: Log): Promise<LoadedModel> {
  const { size } = await stat(settings.path);
  const cores = availableParallelism();
  const threads = settings.threads ?? (size < limits.oneThreadModelBytesMax ? 1 : cores);
  const llama = await startLlama(settings, log);
  const model = await llama
    .loadModel({ modelPath: settings.path, onLoadProgress: createLoadProgress(log) })
    .catch((error: unknown) => {
      throw new WrongModel(`${settings.path} cannot be loaded: ${messageOf(error)}`);
    });
  const trained = model.trainContextSize;
  if (settings.contextTokens > trained) {
    log({
      event: 'warning',
      message: `the model was trained for ${trained} tokens; --context is lowered to that`,
    });
  }
  const contextTokens = Math.min(settings.contextTokens, trained);
  const context = await createContext(model, { ...settings, contextTokens }, threads);
  const { ggml, chat_template: chatTemplate } = model.fileInfo.metadata.tokenizer ?? {};
  const vocabulary = createVocabulary({
    kind: model.vocabularyType,
    tokens: ggml?.tokens ?? [],
    types: ggml?.token_type ?? [],
  });
  if (chatTemplate === undefined) {
    log({ event: 'warning', message: 'the model has no chat template: chats are joined as plain text' });
  }
  const sequences = Array.from({ length: settings.sequences }, () => context.getSequence());
  return {
    model,
    path: settings.path,
    build: `${llama.llamaCppRelease.repo} ${llama.llamaCppRelease.release}`,
    sequences,
    vocabulary,
    contextTokens,
    threads,
    canTrim: !sequences.some((sequence) => sequence.needsCheckpoints),
    renderChat: createChatTemplate(chatTemplate, {
      bos: model.tokens.bosString ?? '',
      eos: model.tokens.eosString ?? '',
    }),
    isEnd: (token) => model.isEogToken(token as Token),
    tokenize: createTokenizer(model, vocabulary, contextTokens),
    compile: createCompile(llama, model),
    embed: createEmbed(model, contextTokens, threads),
  };
}
