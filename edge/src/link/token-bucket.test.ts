import { expect, test } from 'vitest';
import { TokenBucket } from './token-bucket.ts';

const bucketAt = () => {
  const time = { ms: 1_000 };
  return { time, bucket: new TokenBucket({ clock: () => time.ms, perSecond: 10, burst: 20 }) };
};

test('a burst may be taken at once, and then the rate', () => {
  const { time, bucket } = bucketAt();
  expect([bucket.take(20), bucket.take(1)]).toEqual([true, false]);
  time.ms += 500;
  expect([bucket.take(6), bucket.take(5), bucket.level]).toEqual([false, true, 0]);
});

test('what is charged beyond is a debt, as large as the burst at most, and is paid off first', () => {
  const { time, bucket } = bucketAt();
  bucket.charge(25);
  expect(bucket.level).toBe(-5);
  bucket.charge(1_000);
  expect(bucket.level).toBe(-20);
  time.ms += 2_500;
  expect([bucket.level, bucket.take(5)]).toEqual([5, true]);
});

test('never holds more than the burst, and a clock that is set back gives nothing and takes nothing', () => {
  const { time, bucket } = bucketAt();
  bucket.give(5);
  time.ms += 60_000;
  expect(bucket.level).toBe(20);
  bucket.charge(20);
  time.ms -= 3_600_000;
  expect(bucket.level).toBe(0);
  time.ms += 1_000;
  expect(bucket.level).toBe(10);
});
