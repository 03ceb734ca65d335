import { describe, expect, it } from 'vitest';
import { Aborted, ApiError } from '../openai/errors.ts';
import { choosePlace } from './place.ts';
import { SequencePool } from './pool.ts';

describe('the place of a prompt', () => {
  const place = (...rows: [sequence: number, commonPrefix: number, lastUsed: number][]) =>
    choosePlace(
      rows.map(([sequence, commonPrefix, lastUsed]) => ({ sequence, commonPrefix, lastUsed })),
      16,
    );

  it('is the sequence with the longest common prefix', () => {
    expect(place([0, 40, 9], [1, 64, 1], [2, 0, 0])).toBe(1);
  });

  it('is the one used longest ago among equals', () => {
    expect(place([0, 40, 9], [1, 40, 3], [2, 40, 5])).toBe(1);
    expect(place([0, 0, 9], [1, 0, 0])).toBe(1);
  });

  it('does not follow a prefix shorter than a block, because all chats of a template share one', () => {
    expect(place([0, 15, 9], [1, 0, 0])).toBe(1);
    expect(place([0, 16, 9], [1, 0, 0])).toBe(0);
  });

  it('is nowhere when nothing is free', () => {
    expect(place()).toBeUndefined();
  });
});

describe('the pool of sequences', () => {
  const create = (waitingMax = 2) => new SequencePool({ sequences: 2, waitingMax, blockTokens: 16 });
  const blank = () => ({ commonPrefix: 0 });
  const never = new AbortController().signal;

  it('lets who waits for one sequence hold up nobody who takes another', async () => {
    const pool = create();
    const only = (wanted: number) => (sequence: number) =>
      sequence === wanted ? { commonPrefix: 0 } : undefined;
    expect([await pool.acquire(only(1), never), await pool.acquire(blank, never)]).toEqual([1, 0]);
    const order: string[] = [];
    const waiting = [
      pool.acquire(only(1), never).then((sequence) => order.push(`pinned ${sequence}`)),
      pool.acquire(blank, never).then((sequence) => order.push(`any ${sequence}`)),
    ];
    pool.release(0);
    pool.release(1);
    await Promise.all(waiting);
    expect(order).toEqual(['any 0', 'pinned 1']);
  });

  it('gives out a sequence that was emptied before one that was merely looked at', async () => {
    const pool = create();
    for (const sequence of [0, 1]) expect(await pool.acquire(blank, never)).toBe(sequence);
    pool.release(0);
    pool.release(1);
    for (const use of ['counts not', 'emptied'] as const) {
      pool.release(await pool.acquire((at) => (at === 1 ? { commonPrefix: 0 } : undefined), never), use);
      expect(await pool.acquire(blank, never)).toBe(use === 'emptied' ? 1 : 0);
      pool.release(0, 'counts not');
    }
  });

  it('serves first come, first served', async () => {
    const pool = create();
    const held = [await pool.acquire(blank, never), await pool.acquire(blank, never)];
    expect(held.toSorted()).toEqual([0, 1]);
    const order: string[] = [];
    const waiting = [
      pool.acquire(blank, never).then((sequence) => order.push(`a${sequence}`)),
      pool.acquire(blank, never).then((sequence) => order.push(`b${sequence}`)),
    ];
    expect([pool.running, pool.waiting]).toEqual([2, 2]);
    pool.release(1);
    pool.release(0);
    await Promise.all(waiting);
    expect(order).toEqual(['a1', 'b0']);
  });

  it('refuses with 503 when too many wait', async () => {
    const pool = create(0);
    await pool.acquire(blank, never);
    await pool.acquire(blank, never);
    const refusal = await pool.acquire(blank, never).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ApiError);
    expect(refusal).toMatchObject({ status: 503, code: 'overloaded' });
    expect((refusal as ApiError).headers['retry-after']).toBeDefined();
  });

  it('forgets a waiting request whose client left', async () => {
    const pool = create();
    await pool.acquire(blank, never);
    const second = await pool.acquire(blank, never);
    const gone = new AbortController();
    const waiting = pool.acquire(blank, gone.signal);
    gone.abort();
    await expect(waiting).rejects.toBeInstanceOf(Aborted);
    expect(pool.waiting).toBe(0);
    pool.release(second);
    expect(pool.running).toBe(1);
    await expect(pool.acquire(blank, gone.signal)).rejects.toBeInstanceOf(Aborted);
  });

  it('asks how well a sequence suits when it is given out, not when the request came', async () => {
    const pool = create();
    const first = await pool.acquire(blank, never);
    const second = await pool.acquire(blank, never);
    let warm = first;
    const waiting = pool.acquire((sequence) => ({ commonPrefix: sequence === warm ? 100 : 0 }), never);
    warm = second;
    pool.release(second);
    expect(await waiting).toBe(second);
  });
});
