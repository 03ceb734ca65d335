/** Prompts that both sides of the bench know, and how the engine of the bench cuts them into tokens. Pure. */

export const marked = 64;
const charsPerToken = 4;
export const blockTokens = 16;

export const bodyOf = (prompt: number) => ({
  model: 'm',
  messages: [{ role: 'user', content: `prompt ${prompt} `.padEnd(2_048, `of many words ${prompt}, `) }],
});

export const rendered = (messages: readonly { readonly role: string; readonly content: string }[]): string =>
  `${messages.map(({ role, content }) => `<${role}>${content}\n`).join('')}<assistant>`;

/** Pieces of four characters; each is a token, numbered as it is first seen. */
export class Pieces {
  readonly #ids = new Map<string, number>();

  of(text: string): readonly { readonly id: number; readonly piece: string }[] {
    const pieces = text.match(new RegExp(`[^]{1,${charsPerToken}}`, 'g')) ?? [];
    return pieces.map((piece) => {
      const id = this.#ids.get(piece) ?? this.#ids.size;
      this.#ids.set(piece, id);
      return { id, piece };
    });
  }
}
