/** Stand-in until the branch that stitches lands. */
import type { Sent } from './sent-stream.ts';
export class Stitch {
  constructor(first: Sent) {
    void first;
  }
  push(bytes: Uint8Array): Uint8Array {
    return bytes;
  }
  end(): Uint8Array {
    return new Uint8Array();
  }
}
export const finishEvents = (sent: Sent, reason: string | undefined): Uint8Array => {
  void sent;
  void reason;
  return new Uint8Array();
};
