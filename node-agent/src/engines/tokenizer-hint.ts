/** What the configuration and an engine's profile say of its tokenizer, for an agent that renders chats itself. */
import { type ChatInput, plainInput } from './chat-input.ts';
import type { EngineConfig } from './engine-config.ts';
import { engineProfiles } from './profiles/profiles.ts';

export interface TokenizerHint {
  /** A directory or a hub's name; undefined: the engine may say. */
  readonly name: string | undefined;
  readonly input: ChatInput;
  /** That the engine has, for the place of its cache. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Undefined: it shows its prompts itself, and nobody named a tokenizer. */
export const tokenizerHint = (
  { profile, source, tokenizer }: EngineConfig,
  environment: Readonly<Record<string, string | undefined>>,
): TokenizerHint | undefined => {
  const input = engineProfiles.get(profile)?.chatInput;
  if (input === undefined && tokenizer === undefined) return undefined;
  const isLaunched = source.kind === 'launched';
  return {
    name: tokenizer ?? (isLaunched ? source.model : undefined),
    input: input ?? plainInput,
    environment: isLaunched ? { ...environment, ...Object.fromEntries(source.environment) } : environment,
  };
};
