/**
 * What an engine hands to a model's chat template of a request, as data of its profile: known only from the engine's
 * sources, so a profile that does not say is taken to hand over plain messages, and of anything else nothing is known.
 * Types and the plain one only; `truth/render/local` follows it.
 */

export interface ChatInput {
  /** Between texts of a content that is a list; undefined: lists are not known. */
  readonly partSeparator: string | undefined;
  /** A template that goes through a content's parts itself gets them as they are. */
  readonly keepsParts: boolean;
  /** Beside role and content, by role, with `*` for all others; what is not named is dropped. Undefined: not known. */
  readonly fields: Readonly<Record<string, readonly string[]>> | undefined;
  /** An assistant's reasoning reaches the template as `reasoning_content`: the first of these that is there. */
  readonly reasoning: readonly string[];
  /** Parts of a tool's function in their order, each with what stands where it is missing. Undefined: not known. */
  readonly tools: Readonly<Record<string, string | boolean | null>> | undefined;
  /** `tool_choice` leaves out tools: all for "none", the others for a named one. Otherwise that is not known. */
  readonly choosesTools: boolean;
  /** A `reasoning_effort` reaches the template. */
  readonly tellsEffort: boolean;
}

export const plainInput: ChatInput = {
  partSeparator: undefined,
  keepsParts: false,
  fields: undefined,
  reasoning: [],
  tools: undefined,
  choosesTools: false,
  tellsEffort: false,
};
