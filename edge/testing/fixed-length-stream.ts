/** The runtime's `FixedLengthStream`, as far as tests in Node need it: a write is done once its bytes were read. */

class FixedLengthStreamInNode {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;

  constructor(length: number) {
    let left = length;
    let pulled = (): void => {};
    let wanted = new Promise<void>((accept) => {
      pulled = accept;
    });
    let controller: ReadableStreamDefaultController<Uint8Array>;
    let gone = false;
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (own) => {
          controller = own;
        },
        pull: () => pulled(),
        cancel: () => {
          gone = true;
          pulled();
        },
      },
      { highWaterMark: 0 },
    );
    this.writable = new WritableStream<Uint8Array>({
      write: async (bytes) => {
        await wanted;
        if (gone) throw new Error('the reader left');
        wanted = new Promise((accept) => {
          pulled = accept;
        });
        left -= bytes.length;
        controller.enqueue(bytes.slice());
      },
      close: () => {
        if (left !== 0) throw new Error(`${left} bytes are missing`);
        controller.close();
      },
      abort: (reason) => controller.error(reason),
    });
  }
}

/** Puts it where the Worker's code looks for it. */
export const installFixedLengthStream = (): void => {
  Object.assign(globalThis, { FixedLengthStream: FixedLengthStreamInNode });
};
