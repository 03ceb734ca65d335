/**
 * Finds the prompt profile of a served model by rendering conversations through its engine, once per engine start and
 * off the request path: one question at a time, so that requests never wait for more than one. An engine that is busy
 * is asked again later, each time after a longer pause; one that shows no prompts gets the plain profile.
 */
import { type DerivedProfile, deriveProfile } from '@cognitora/protocol/prefix/derive';
import { headFields, plainProfile, profileOf } from '@cognitora/protocol/prefix/profile';
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Ask } from '../engines/ask.ts';
import { Disagrees, NoSuchWay, NotAsked } from './render/outcome.ts';
import type { RenderWay } from './render/render.ts';

/** A template takes some 300; whoever needs more is being led on. */
const rendersMax = 600;
/** Of one rendered probe, whose own text is a few hundred: comparing longer ones would hold up streams. */
const promptCharsMax = 64 * 1024;
/** All of them together, before the engine counts as busy. */
const deriveMsMax = 120_000;
const triesMax = 6;
const retryMsMin = 2_000;

export interface FoundProfile extends DerivedProfile {
  /** How to render a prompt of this engine; undefined when it shows none, and the profile is only a guess. */
  readonly way: RenderWay | undefined;
  /** It shows where tokens end in a prompt, too: what events say of tokens can be told of text. */
  readonly showsTokens: boolean;
}

export interface FindOptions {
  readonly ask: Ask;
  readonly served: string;
  readonly ways: readonly RenderWay[];
  readonly monotonicMs: () => number;
  readonly pause: (ms: number) => Promise<void>;
  /** The engine is gone, or another one: the search ends. */
  readonly isOver: () => boolean;
  /** What we rendered ourselves is not what the engine has, which it says before it served anything. */
  readonly onDoubt: (why: string) => void;
}

/** Of a template that nobody has looked at. */
const plain: FoundProfile = {
  profile: plainProfile,
  facts: { verbatim: [], toolText: undefined },
  way: undefined,
  showsTokens: false,
};

/** Whatever a tokenizer writes in a way of its own: spaces, lines, bytes of one character. */
const sample = { messages: [{ role: 'user', content: 'Who was it? \n\n  Zoë 🙂, 12.' }] } as const;

const showsTokensOf = async (options: FindOptions, way: RenderWay): Promise<boolean> => {
  try {
    return (await way.show(options.ask, options.served, sample)) !== undefined;
  } catch (thrown) {
    if (thrown instanceof NoSuchWay) return false;
    if (!(thrown instanceof Disagrees)) throw thrown;
    options.onDoubt(thrown.message);
    return false;
  }
};

/** Renders one conversation after the other, for a while. */
const renderer = ({ ask, served, monotonicMs, isOver }: FindOptions, way: RenderWay) => {
  const startedMs = monotonicMs();
  let renders = 0;
  let last: Promise<unknown> = Promise.resolve();
  const render = async (body: JsonRecord): Promise<string | undefined> => {
    renders += 1;
    if (isOver() || renders > rendersMax || monotonicMs() - startedMs > deriveMsMax) {
      throw new NotAsked('the search for a prompt profile takes too long');
    }
    const prompt = await way.render(ask, served, body);
    if ((prompt?.length ?? 0) > promptCharsMax)
      throw new Error('the template writes too much to be looked at');
    return prompt;
  };
  return (body: JsonRecord): Promise<string | undefined> => {
    const rendered = last.then(
      () => render(body),
      () => render(body),
    );
    last = rendered;
    return rendered;
  };
};

const findWith = async (options: FindOptions, way: RenderWay): Promise<FoundProfile> => {
  const { profile, facts } = await deriveProfile(renderer(options, way));
  const found = { facts, way, showsTokens: await showsTokensOf(options, way) };
  if (way.showsOptions) return { profile, ...found };
  return { profile: profileOf({ ...profile, headFields: [...headFields] }), ...found };
};

/** The first way that shows tokens, else the first that shows prompts. */
const findOnce = async (options: FindOptions): Promise<FoundProfile> => {
  let found: FoundProfile | undefined;
  for (const way of options.ways) {
    try {
      const here = await findWith(options, way);
      if (here.showsTokens) return here;
      found ??= here;
    } catch (thrown) {
      // A model without a chat template renders nothing that could be looked at; another way may know one.
      if (thrown instanceof NotAsked) throw thrown;
    }
  }
  return found ?? plain;
};

/** Undefined when the search is over before anything was found. */
export const findProfile = async (options: FindOptions): Promise<FoundProfile | undefined> => {
  for (let tries = 1; !options.isOver(); tries += 1) {
    try {
      return await findOnce(options);
    } catch (thrown) {
      if (!(thrown instanceof NotAsked)) throw thrown;
      if (options.isOver()) return undefined;
      if (tries >= triesMax) return plain;
      await options.pause(retryMsMin * 2 ** (tries - 1));
    }
  }
  return undefined;
};
