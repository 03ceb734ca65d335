/** Stand-in until the branch that reads text lands. */
import type { InferencePath } from '@cognitora/protocol/openai';
export interface Sent {
  readonly text: string;
  readonly textEvents: number;
  readonly finishReason: string | undefined;
  readonly isDone: boolean;
  readonly hasBegun: boolean;
  readonly blocker: string | undefined;
}
export class SentStream {
  #hasBegun = false;
  constructor(path: InferencePath) {
    void path;
  }
  push(bytes: Uint8Array): Uint8Array {
    this.#hasBegun ||= bytes.length > 0;
    return bytes;
  }
  end(): Uint8Array {
    return new Uint8Array();
  }
  cut(): Sent {
    return this.sent;
  }
  get sent(): Sent {
    const hasBegun = this.#hasBegun;
    return {
      text: '',
      textEvents: 0,
      finishReason: undefined,
      isDone: false,
      hasBegun,
      blocker: 'unreadable',
    };
  }
}
