/**
 * `tiny`: a llama-architecture model with seeded random weights, made on the spot. It never downloads, and
 * the bytes are the same on every machine: only integer and exactly rounded float operations are used.
 *
 * The trick that keeps its output readable: dimension 0 of every embedding is a constant that no layer writes
 * to, so after the last norm it is always positive. An output row with a weight there has a constant logit:
 * strongly negative for tokens that must not come out, moderate for punctuation and for the end of the turn.
 * Rows of words have nothing there and random values elsewhere, so words depend on the context.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { encodeGguf, type GgufTensor, type GgufValue } from './gguf.ts';
import { type OutputKind, type TinyVocabulary, tinyVocabulary } from './tiny-vocabulary.ts';

const width = 128;
const layers = 4;
const heads = 4;
const kvHeads = 2;
const feedForward = 256;
const contextTokens = 32_768;
const seed = 0x636f676e;
const fileName = 'tiny-v1.gguf';

/**
 * The constant in dimension 0 of every embedding; large enough to stay well above zero after the last norm.
 */
const constantComponent = 12;

/** Weight of output rows on that constant. The normed constant is about 6 in this model. */
const constantWeights: Readonly<Record<OutputKind, number>> = {
  word: 0,
  comma: 0.75,
  quote: 0.55,
  bracket: 0.2,
  end: 0.5,
  never: -12,
};

export const chatMlTemplate =
  "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' " +
  "+ message['content'] + '<|im_end|>' + '\\n' }}" +
  "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}";

/** mulberry32: 32-bit integer arithmetic only, the same everywhere. */
function createUniform(state: number): () => number {
  let current = state;
  return () => {
    current = (current + 0x6d2b79f5) | 0;
    let mixed = Math.imul(current ^ (current >>> 15), 1 | current);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Sum of four uniforms: near enough to a normal distribution, without `Math.log`, which may round
 * differently.
 */
function createNormal(uniform: () => number): () => number {
  return () => (uniform() + uniform() + uniform() + uniform() - 2) * 1.7320508075688772;
}

function matrix(inputs: number, outputs: number, scale: number, normal: () => number): Float32Array {
  const values = new Float32Array(inputs * outputs);
  for (let at = 0; at < values.length; at++) values[at] = normal() * scale;
  return values;
}

/**
 * A matrix that reads the residual stream, but not dimension 0: a constant there would favour a few words.
 */
function readingMatrix(outputs: number, scale: number, normal: () => number): Float32Array {
  const values = matrix(width, outputs, scale, normal);
  for (let row = 0; row < outputs; row++) values[row * width] = 0;
  return values;
}

/** A matrix that adds to the residual stream, and so must leave dimension 0 alone. */
function residualMatrix(inputs: number, scale: number, normal: () => number): Float32Array {
  const values = matrix(inputs, width, scale, normal);
  values.fill(0, 0, inputs);
  return values;
}

function layerTensors(layer: number, normal: () => number): GgufTensor[] {
  const name = (part: string): string => `blk.${layer}.${part}.weight`;
  const kvWidth = (width / heads) * kvHeads;
  const unit = 1 / Math.sqrt(width);
  return [
    { name: name('attn_norm'), dimensions: [width], values: new Float32Array(width).fill(1) },
    { name: name('attn_q'), dimensions: [width, width], values: readingMatrix(width, unit, normal) },
    { name: name('attn_k'), dimensions: [width, kvWidth], values: readingMatrix(kvWidth, unit, normal) },
    { name: name('attn_v'), dimensions: [width, kvWidth], values: readingMatrix(kvWidth, unit, normal) },
    {
      name: name('attn_output'),
      dimensions: [width, width],
      values: residualMatrix(width, 2 * unit, normal),
    },
    { name: name('ffn_norm'), dimensions: [width], values: new Float32Array(width).fill(1) },
    {
      name: name('ffn_gate'),
      dimensions: [width, feedForward],
      values: readingMatrix(feedForward, unit, normal),
    },
    {
      name: name('ffn_up'),
      dimensions: [width, feedForward],
      values: readingMatrix(feedForward, unit, normal),
    },
    {
      name: name('ffn_down'),
      dimensions: [feedForward, width],
      values: residualMatrix(feedForward, unit, normal),
    },
  ];
}

function embeddings(vocabulary: TinyVocabulary, normal: () => number): Float32Array {
  const values = matrix(width, vocabulary.tokens.length, 1, normal);
  for (let token = 0; token < vocabulary.tokens.length; token++) values[token * width] = constantComponent;
  return values;
}

function outputRows(vocabulary: TinyVocabulary, normal: () => number): Float32Array {
  const values = new Float32Array(width * vocabulary.tokens.length);
  for (const [token, kind] of vocabulary.outputs.entries()) {
    values[token * width] = constantWeights[kind];
    if (kind !== 'word') continue;
    for (let at = 1; at < width; at++) values[token * width + at] = normal() * 0.3;
  }
  return values;
}

function metadata(vocabulary: TinyVocabulary): Record<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ type: 'u32', value });
  return {
    'general.architecture': { type: 'string', value: 'llama' },
    'general.name': { type: 'string', value: 'Cognitora tiny (random weights, emits nonsense)' },
    'general.file_type': u32(0),
    'llama.vocab_size': u32(vocabulary.tokens.length),
    'llama.context_length': u32(contextTokens),
    'llama.embedding_length': u32(width),
    'llama.block_count': u32(layers),
    'llama.feed_forward_length': u32(feedForward),
    'llama.rope.dimension_count': u32(width / heads),
    'llama.attention.head_count': u32(heads),
    'llama.attention.head_count_kv': u32(kvHeads),
    'llama.attention.layer_norm_rms_epsilon': { type: 'f32', value: 1e-5 },
    'llama.rope.freq_base': { type: 'f32', value: 10_000 },
    'tokenizer.ggml.model': { type: 'string', value: 'gpt2' },
    'tokenizer.ggml.pre': { type: 'string', value: 'gpt-2' },
    'tokenizer.ggml.tokens': { type: 'strings', value: vocabulary.tokens },
    'tokenizer.ggml.token_type': { type: 'i32s', value: vocabulary.types },
    'tokenizer.ggml.merges': { type: 'strings', value: vocabulary.merges },
    'tokenizer.ggml.bos_token_id': u32(vocabulary.startToken),
    'tokenizer.ggml.eos_token_id': u32(vocabulary.endToken),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
    'tokenizer.chat_template': { type: 'string', value: chatMlTemplate },
  };
}

/** The whole file, always the same bytes. */
export function buildTiny(): Buffer {
  const vocabulary = tinyVocabulary();
  const normal = createNormal(createUniform(seed));
  const vocabularySize = vocabulary.tokens.length;
  const tensors: GgufTensor[] = [
    {
      name: 'token_embd.weight',
      dimensions: [width, vocabularySize],
      values: embeddings(vocabulary, normal),
    },
  ];
  for (let layer = 0; layer < layers; layer++) tensors.push(...layerTensors(layer, normal));
  tensors.push(
    { name: 'output_norm.weight', dimensions: [width], values: new Float32Array(width).fill(1) },
    { name: 'output.weight', dimensions: [width, vocabularySize], values: outputRows(vocabulary, normal) },
  );
  return encodeGguf(metadata(vocabulary), tensors);
}

/**
 * The toy's path in `modelsDir`, written first if it is missing or damaged. Written under another name and
 * renamed, so that two processes that start together both find a whole file.
 */
export async function ensureTiny(modelsDir: string): Promise<{ path: string; built: boolean }> {
  const file = path.join(modelsDir, fileName);
  const bytes = buildTiny();
  const present = await readFile(file).catch(() => undefined);
  if (present?.equals(bytes)) return { path: file, built: false };
  await mkdir(modelsDir, { recursive: true });
  const temporary = `${file}.${randomUUID()}`;
  await writeFile(temporary, bytes);
  await rename(temporary, file);
  return { path: file, built: true };
}
