/**
 * What digests stand for, in tokens: with chat templates as their makers publish them, profiles as an agent finds them
 * there, real tokenizers, and such whose vocabulary was drawn by lot.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadTokenizer, type TextTokens } from '../../embedded-engine/src/testing/vocabulary-file.ts';
import { type FoundProfile, findProfile } from '../../node-agent/src/truth/prompt-profile.ts';
import { alignBlocks } from '../../protocol/src/prefix/align.ts';
import { prefixChain, rootKey } from '../../protocol/src/prefix/chain.ts';
import { type ProfileFacts, profileOf } from '../../protocol/src/prefix/profile.ts';
import { sharedLength } from '../../protocol/src/prefix/shared-length.ts';
import {
  type ChatTemplate,
  chatTemplates,
  renderer,
} from '../../protocol/src/prefix/testing/chat-templates.ts';
import { type ConversationPair, conversationPair } from '../../protocol/src/prefix/testing/conversations.ts';
import { llamaCppFile } from '../../protocol/src/prefix/testing/llama-cpp-files.ts';
import type { JsonRecord } from '../../protocol/src/shape.ts';
import { type DrawnVocabulary, drawnVocabulary, tokenizerOf } from './made-tokenizers.ts';

const path = '/v1/chat/completions';
const blocksMax = 4096;
/** More, to look for what a few do not find. */
const runs = Number(process.env.TEMPLATE_RUNS ?? 60);

/** The profile as an agent finds it, of an engine that renders with this template. */
const foundBy = async (render: (body: JsonRecord) => string | undefined): Promise<FoundProfile> => {
  const way = {
    showsOptions: true,
    render: async (_ask: unknown, _served: string, body: JsonRecord) => render(body),
    show: async () => undefined,
  };
  const found = await findProfile({
    ask: () => Promise.reject(new Error('nobody is asked')),
    onDoubt: () => {},
    ...{ served: 'm', ways: [way], monotonicMs: () => 0, pause: async () => {}, isOver: () => false },
  });
  if (found === undefined) throw new Error('no profile was found');
  return found;
};

const isBlank = (byte: number | undefined): boolean =>
  byte !== undefined && (byte === 32 || (byte >= 9 && byte <= 13));

/**
 * Behind a piece that stands at `from`, or behind white space there. SentencePiece may begin one with a space of its
 * own, and takes the sign that it writes for a space, which DeepSeek's special tokens hold, for one.
 */
const behindPiece = (bytes: Buffer, piece: Uint8Array, from: number): number => {
  const signed = Buffer.from(Buffer.from(piece).toString().replaceAll(' ', '\u2581'));
  const spellings = piece[0] === 32 ? [piece, piece.subarray(1), signed] : [piece];
  for (let at = from; at <= bytes.length; at += 1) {
    for (const spelling of spellings) {
      if (bytes.subarray(at, at + spelling.length).equals(spelling)) return at + spelling.length;
    }
    if (!isBlank(bytes[at])) break;
  }
  throw new Error(`${Buffer.from(piece)} does not stand at ${from}`);
};

/** How much of a text its first tokens reach, in characters: some tokenizers add a space, or drop white space. */
const endsOf = (text: string, { pieces }: TextTokens): readonly number[] => {
  const bytes = Buffer.from(text);
  const characters = new Int32Array(bytes.length + 1);
  let [at, units] = [0, 0];
  for (const character of text) {
    characters.fill(units, at, at + Buffer.byteLength(character));
    at += Buffer.byteLength(character);
    units += character.length;
  }
  characters[at] = units;
  at = 0;
  return pieces.map((piece) => {
    at = behindPiece(bytes, piece, at);
    return characters[at] ?? 0;
  });
};

/**
 * Where no token reaches over, in no tokenizer: before a space that follows something else. Within the word that is cut
 * tokens depend on what follows, so of two prompts that part there nobody can say which of its tokens they share.
 */
const lastWordStart = (text: string, end: number): number => {
  let at = Math.min(end, text.length) - 1;
  while (at > 0 && !(text[at] === ' ' && /\S/.test(text.charAt(at - 1)))) at -= 1;
  return Math.max(0, at);
};

interface Claim {
  readonly digests: readonly string[];
  readonly covers: Int32Array | undefined;
  readonly prompt: string;
}

const claimOf = (body: JsonRecord, prompt: string, found: FoundProfile, blockBytes: number): Claim => {
  const { profile, facts } = found;
  const root = rootKey({ salt: 'salt', model: 'm', profile });
  const request = { path, body } as const;
  const { digests } = prefixChain(request, { root, profile, blockBytes, blocksMax });
  const options = { request, profile, facts, rendered: prompt, blockBytes, blocksMax };
  return {
    digests: Array.from(
      { length: digests.length / 2 },
      (_, at) => `${digests[2 * at]}-${digests[2 * at + 1]}`,
    ),
    covers: alignBlocks(options)?.covers,
    prompt,
  };
};

interface Seen {
  claims: number;
  /** That digests stood for, and that prompts shared. */
  tokens: number;
  shared: number;
}

class Trial {
  readonly #render: (body: JsonRecord) => string | undefined;
  readonly #found: FoundProfile;
  readonly #refusesSystem: boolean;
  readonly seen: Seen = { claims: 0, tokens: 0, shared: 0 };

  constructor(render: (body: JsonRecord) => string | undefined, found: FoundProfile) {
    this.#render = render;
    this.#found = found;
    const [system, user] = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello.' },
    ];
    this.#refusesSystem = render({ messages: [system, user] }) === undefined;
  }

  /** Both requests' claims, where the template renders them and they share a digest. */
  check(pair: ConversationPair, blockBytes: number, tokenize: (text: string) => TextTokens): void {
    const bodies = [this.#fitted(pair.left), this.#fitted(pair.right)];
    const claims = bodies.flatMap((body) => {
      const prompt = this.#render(body);
      return prompt === undefined ? [] : [claimOf(body, prompt, this.#found, blockBytes)];
    });
    const [left, right] = claims;
    if (left === undefined || right === undefined) return;
    const blocks = sharedLength(left.digests, right.digests);
    if (blocks === 0) return;
    const tokens = claims.map(({ prompt }) => tokenize(prompt));
    const shared = sharedLength(tokens[0]?.ids ?? [], tokens[1]?.ids ?? []);
    for (const [at, { covers, prompt }] of claims.entries()) {
      if (covers === undefined) continue;
      const covered = covers[Math.min(blocks, covers.length) - 1] ?? 0;
      const ends = endsOf(prompt, tokens[at] ?? { ids: [], pieces: [] });
      const whole = ends.filter((end) => end <= lastWordStart(prompt, covered)).length;
      this.seen.claims += 1;
      this.seen.tokens += whole;
      this.seen.shared += shared;
      expect(whole).toBeLessThanOrEqual(shared);
    }
  }

  #fitted(body: JsonRecord): JsonRecord {
    if (!this.#refusesSystem) return body;
    const messages = body.messages as readonly JsonRecord[];
    return { ...body, messages: messages.filter(({ role }) => role !== 'system') };
  }
}

const blockBytes = fc.constantFrom(8, 16, 64);
const vocabularies = ['qwen2', 'llama-bpe', 'phi-3'] as const;
const tokenizers = new Map<string, (text: string) => TextTokens>();
const tokenizerNamed = (name: string): ((text: string) => TextTokens) => {
  const tokenize = tokenizers.get(name);
  if (tokenize === undefined) throw new Error(name);
  return tokenize;
};
beforeAll(async () => {
  for (const name of vocabularies) {
    tokenizers.set(name, await loadTokenizer(llamaCppFile(`models/ggml-vocab-${name}.gguf`)));
  }
});

const long = (name: string): string => Array.from({ length: 120 }, (_, at) => `${name}${at}`).join(' ');
const asked = [
  { role: 'system', content: long('system') },
  { role: 'user', content: long('first') },
  { role: 'assistant', content: long('answer') },
  { role: 'user', content: long('second') },
];
const nextTurn = [
  { role: 'assistant', content: long('more') },
  { role: 'user', content: long('third') },
];
const longPair: ConversationPair = {
  left: { messages: asked },
  right: { messages: [...asked, ...nextTurn] },
};

describe.each(chatTemplates)('the template of $name', (template: ChatTemplate) => {
  const render = renderer(template);
  let found: FoundProfile;
  beforeAll(async () => {
    found = await foundBy(render);
  });

  test('is understood: an agent finds a profile that claims whole conversations', () => {
    expect(found.profile.claims).toBe('all');
    expect(found.way).toBeDefined();
  });

  test.each(vocabularies)('digests never stand for more tokens than prompts share, those of %s', (name) => {
    const trial = new Trial(render, found);
    const holds = (pair: ConversationPair, bytes: number) => trial.check(pair, bytes, tokenizerNamed(name));
    fc.assert(fc.property(conversationPair, blockBytes, holds), { numRuns: runs });
  });

  test('nor with any vocabulary', () => {
    const trial = new Trial(render, found);
    const holds = (pair: ConversationPair, bytes: number, drawn: DrawnVocabulary) =>
      trial.check(pair, bytes, tokenizerOf(drawn));
    fc.assert(fc.property(conversationPair, blockBytes, drawnVocabulary, holds), { numRuns: runs });
  });

  // What the draws above claim is a matter of chance; that much is claimed at all is shown here.
  test.each(vocabularies)(
    'of a long conversation they stand for nearly all its tokens, those of %s',
    (name) => {
      const trial = new Trial(render, found);
      trial.check(longPair, 64, tokenizerNamed(name));
      expect(trial.seen.claims).toBe(2);
      expect(trial.seen.tokens).toBeGreaterThan(0.9 * trial.seen.shared);
    },
  );
});

const kept = { reasoning_content: 'kept', reasoning: 'kept', thinking: 'kept', inline: 'kept' } as const;
/** Without what is true of it, the property fails: it would show a profile that lies. */
const lies: readonly [name: string, lie: Partial<ProfileFacts>][] = [
  ['Llama 3.1', { tools: 'left-out' }],
  ['Qwen2.5', { toolsBeforeSystem: true }],
  ['Qwen3', { reasoning: kept }],
  ['Mistral Nemo', { tools: 'first' }],
  ['Mistral Small 3.2', { tools: 'first' }],
  ['DeepSeek-R1', { laterSystem: 'in-place' }],
  ['GLM-4.6', { reasoning: kept }],
];

test.each(lies)('a profile of %s that says %j is found out', async (name, lie) => {
  const template = chatTemplates.find((candidate) => candidate.name === name);
  if (template === undefined) throw new Error(name);
  const render = renderer(template);
  const found = await foundBy(render);
  const trial = new Trial(render, { ...found, profile: profileOf({ ...found.profile, ...lie }) });
  const holds = (pair: ConversationPair, bytes: number) => trial.check(pair, bytes, tokenizerNamed('qwen2'));
  const property = fc.property(conversationPair, blockBytes, holds);
  const { failed } = fc.check(property, { seed: 1, numRuns: 1_000, endOnFailure: true });
  expect(failed).toBe(true);
});
