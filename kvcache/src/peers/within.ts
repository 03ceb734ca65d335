/** A promise with an end. Owns one timer; what comes later is handed to `onLate`, so that nothing is left open. */
import { PeerError, type PeerFailure } from './codes.ts';

export const within = <Value>(
  promise: Promise<Value>,
  msMax: number,
  code: PeerFailure,
  onLate: (value: Value) => void = () => {},
): Promise<Value> =>
  new Promise((resolve, reject) => {
    let isLate = false;
    const timer = setTimeout(
      () => {
        isLate = true;
        reject(new PeerError(code));
      },
      Math.max(0, msMax),
    );
    promise.then(
      (value) => {
        clearTimeout(timer);
        if (isLate) onLate(value);
        else resolve(value);
      },
      (thrown: unknown) => {
        clearTimeout(timer);
        reject(thrown);
      },
    );
  });
