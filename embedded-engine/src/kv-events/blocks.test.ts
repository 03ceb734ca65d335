import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BlockEvent, BlockLedger } from './blocks.ts';
import { type BlockHash, blockHash } from './chain.ts';

const sequences = 3;
const blockTokens = 2;

/** What a subscriber believes after reading events; it objects to any event that makes no sense. */
class Reader {
  readonly believed = new Set<BlockHash>();

  read(events: readonly BlockEvent[]): void {
    for (const event of events) {
      if (event.type === 'cleared') this.believed.clear();
      if (event.type === 'stored') this.#stored(event);
      if (event.type === 'removed') {
        for (const hash of event.hashes) expect(this.believed.delete(hash)).toBe(true);
      }
    }
  }

  #stored(event: Extract<BlockEvent, { type: 'stored' }>): void {
    expect(event.tokens.length).toBe(event.hashes.length * blockTokens);
    if (event.parent !== undefined) expect(this.believed.has(event.parent)).toBe(true);
    let { parent } = event;
    for (const [at, hash] of event.hashes.entries()) {
      expect(this.believed.has(hash)).toBe(false);
      this.believed.add(hash);
      // The event says all that the name depends on.
      const tokens = event.tokens.slice(at * blockTokens, (at + 1) * blockTokens);
      expect(blockHash(parent, tokens, event.salt)).toBe(hash);
      parent = hash;
    }
  }
}

/** The plain model: rows of tokens, and the set of names computed from scratch. */
class Rows {
  readonly rows = Array.from({ length: sequences }, () => ({ salt: '', tokens: [] as number[] }));

  row(at: number): { salt: string; tokens: number[] } {
    const row = this.rows[at];
    if (!row) throw new Error('no such row');
    return row;
  }

  names(): Set<BlockHash> {
    const names = new Set<BlockHash>();
    for (const { salt, tokens } of this.rows) {
      let parent: BlockHash | undefined;
      for (let at = 0; at + blockTokens <= tokens.length; at += blockTokens) {
        parent = blockHash(parent, tokens.slice(at, at + blockTokens), salt);
        names.add(parent);
      }
    }
    return names;
  }
}

interface Real {
  readonly ledger: BlockLedger;
  readonly reader: Reader;
}

function check(model: Rows, real: Real): void {
  expect(real.reader.believed).toEqual(model.names());
  expect(real.ledger.residentBlocks).toBe(real.reader.believed.size);
  for (const [at, row] of model.rows.entries()) expect(real.ledger.residentTokens(at)).toEqual(row.tokens);
}

class Extend implements fc.Command<Rows, Real> {
  readonly at: number;
  readonly tokens: readonly number[];
  constructor(at: number, tokens: readonly number[]) {
    this.at = at;
    this.tokens = tokens;
  }
  check = (): boolean => true;
  run(model: Rows, real: Real): void {
    model.row(this.at).tokens.push(...this.tokens);
    real.reader.read(real.ledger.extend(this.at, this.tokens));
    check(model, real);
  }
  toString = (): string => `extend ${this.at} by ${this.tokens.join()}`;
}

class Truncate implements fc.Command<Rows, Real> {
  readonly at: number;
  readonly share: number;
  constructor(at: number, share: number) {
    this.at = at;
    this.share = share;
  }
  check = (): boolean => true;
  run(model: Rows, real: Real): void {
    const row = model.row(this.at);
    const length = Math.floor(row.tokens.length * this.share);
    row.tokens.length = length;
    real.reader.read(real.ledger.truncate(this.at, length));
    check(model, real);
  }
  toString = (): string => `truncate ${this.at} to ${this.share}`;
}

class Salt implements fc.Command<Rows, Real> {
  readonly at: number;
  readonly salt: string;
  constructor(at: number, salt: string) {
    this.at = at;
    this.salt = salt;
  }
  check = (model: Readonly<Rows>): boolean => model.row(this.at).tokens.length === 0;
  run(model: Rows, real: Real): void {
    model.row(this.at).salt = this.salt;
    real.ledger.setSalt(this.at, this.salt);
    check(model, real);
  }
  toString = (): string => `salt ${this.at} ${this.salt}`;
}

describe('the block ledger', () => {
  it('tells a subscriber exactly which blocks some sequence holds, whatever happens', () => {
    const at = fc.nat(sequences - 1);
    const commands = [
      fc.tuple(at, fc.array(fc.nat(1), { maxLength: 7 })).map((args) => new Extend(...args)),
      fc.tuple(at, fc.double({ min: 0, max: 1, noNaN: true })).map((args) => new Truncate(...args)),
      fc.tuple(at, fc.constantFrom('', 'a')).map((args) => new Salt(...args)),
    ];
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 60 }), (run) => {
        const setup = () => ({
          model: new Rows(),
          real: { ledger: new BlockLedger(sequences, blockTokens), reader: new Reader() },
        });
        fc.modelRun(setup, run);
      }),
      { numRuns: 300 },
    );
  });

  it('announces a run of new blocks once, with its parent', () => {
    const ledger = new BlockLedger(2, 2);
    const [first] = ledger.extend(0, [1, 2, 3, 4, 5]);
    expect(first).toMatchObject({ type: 'stored', parent: undefined, tokens: [1, 2, 3, 4] });
    // The second sequence shares a block and adds its own after it.
    const [second, ...none] = ledger.extend(1, [1, 2, 9, 9]);
    expect(none).toEqual([]);
    expect(second).toMatchObject({
      type: 'stored',
      parent: blockHash(undefined, [1, 2], ''),
      tokens: [9, 9],
    });
  });

  it('keeps a block until the last sequence lets go of it', () => {
    const ledger = new BlockLedger(2, 2);
    ledger.extend(0, [1, 2]);
    ledger.extend(1, [1, 2]);
    expect(ledger.truncate(0, 1)).toEqual([]);
    expect(ledger.truncate(1, 0)).toEqual([{ type: 'removed', hashes: [blockHash(undefined, [1, 2], '')] }]);
  });

  it('never matches a prefix across salts', () => {
    const ledger = new BlockLedger(1, 2);
    ledger.setSalt(0, 'tenant');
    ledger.extend(0, [1, 2, 3]);
    expect(ledger.commonPrefix(0, [1, 2, 3, 4], 'tenant')).toBe(3);
    expect(ledger.commonPrefix(0, [1, 2, 3, 4], '')).toBe(0);
    expect(() => ledger.setSalt(0, 'other')).toThrow();
  });
});

describe('block names', () => {
  it('depend on parent, tokens and salt, and fit a signed 64-bit integer', () => {
    const base = blockHash(undefined, [1, 2], '');
    const others = [
      blockHash(undefined, [2, 1], ''),
      blockHash(undefined, [1, 2], 's'),
      blockHash(base, [1, 2], ''),
    ];
    expect(new Set([base, ...others]).size).toBe(4);
    for (const hash of [base, ...others]) expect(BigInt.asIntN(64, hash)).toBe(hash);
    // After the first block the salt is in the parent already.
    expect(blockHash(base, [1], 's')).toBe(blockHash(base, [1], ''));
  });
});
