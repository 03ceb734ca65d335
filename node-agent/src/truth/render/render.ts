/**
 * The ways in which engines show the prompt that their template makes of a conversation: one file each, and this table.
 * Which one an engine has shows when it is asked; no engine is known by name.
 */
import type { JsonRecord } from '@cognitora/protocol/shape';
import type { Ask } from '../../engines/ask.ts';
import { applyTemplate } from './apply-template.ts';
import type { PromptTokens } from './pieces.ts';
import { tokenizeMessages } from './tokenize-messages.ts';

/** A prompt as its engine reads it. */
export interface ShownPrompt {
  readonly text: string;
  readonly tokens: PromptTokens;
}

export interface RenderWay {
  /** Asks for the prompt as a completion would, so that options which change the prompt show. */
  readonly showsOptions: boolean;
  /** Rendered by us, not by the engine: believed of a prompt once the engine has counted as many tokens. */
  readonly isOurs?: boolean;
  /**
   * The prompt of `{messages, tools?, ...}` with its generation prompt; undefined when the template refuses them.
   * Rejects with `NoSuchWay` when the engine does not know this way, with `NotAsked` when it could not be asked, with
   * `Disagrees` when the engine says that the prompt is another one.
   */
  readonly render: (ask: Ask, served: string, body: JsonRecord) => Promise<string | undefined>;
  /** The same prompt with its tokens; undefined as well when nobody can tell where they end in it. */
  readonly show: (ask: Ask, served: string, body: JsonRecord) => Promise<ShownPrompt | undefined>;
  /** It is used no longer. */
  readonly close?: () => void;
}

/** In this order: the most telling first. */
export const renderWays: readonly RenderWay[] = [applyTemplate, tokenizeMessages];
