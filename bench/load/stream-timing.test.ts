/** Arrival times follow the bytes, however they were cut. */
import { describe, expect, it } from 'vitest';
import { StreamTiming } from './stream-timing.ts';

describe('StreamTiming', () => {
  it('takes the first byte for TTFT and the last byte of each event for its arrival', () => {
    const timing = new StreamTiming(10, 3);
    timing.start(100);
    timing.data(4, 110);
    timing.data(6, 120);
    timing.data(20, 130);
    timing.data(5, 140);
    timing.end(150);
    expect(timing.firstDataUs).toBe(110);
    expect([...timing.arrivalsUs]).toEqual([120, 130, 130]);
    expect(timing.endedUs).toBe(150);
    expect(timing.bodyBytes).toBe(35);
  });

  it('forgets the request before', () => {
    const timing = new StreamTiming(10, 2);
    timing.start(0);
    timing.data(20, 5);
    timing.start(50);
    timing.data(10, 60);
    expect(timing.firstDataUs).toBe(60);
    expect([...timing.arrivalsUs]).toEqual([60]);
  });
});
