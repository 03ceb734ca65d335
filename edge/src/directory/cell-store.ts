/**
 * The places of replicas in cells, in the region's own database: what a lost object's replicas find again. Written when
 * a replica first sits, erased when its place is given up. Decides nothing.
 */
import { cellPlacesMax } from '@cognitora/protocol/limits';
import type { CellLog, CellPlace } from './cell-plan.ts';

export class CellStore implements CellLog {
  readonly #sql: SqlStorage;
  #rows = 0;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(
      `CREATE TABLE IF NOT EXISTS cell_places (
        model TEXT NOT NULL, replica TEXT NOT NULL, cell INTEGER NOT NULL, PRIMARY KEY (model, replica)
      ) WITHOUT ROWID`,
    );
  }

  places(): readonly CellPlace[] {
    const places = this.#sql
      .exec('SELECT model, replica, cell FROM cell_places')
      .toArray()
      .map(({ model, replica, cell }) => ({
        ...{ model: String(model), replica: String(replica), cell: Number(cell) },
      }));
    this.#rows = places.length;
    return places;
  }

  /** Beyond its bound nothing is written: such a replica may find itself in another cell after a loss. */
  write({ model, replica, cell }: CellPlace): void {
    if (this.#rows >= cellPlacesMax) return;
    this.#sql.exec('INSERT INTO cell_places (model, replica, cell) VALUES (?, ?, ?)', model, replica, cell);
    this.#rows += 1;
  }

  erase({ model, replica }: CellPlace): void {
    const text = 'DELETE FROM cell_places WHERE model = ? AND replica = ? RETURNING cell';
    this.#rows -= this.#sql.exec(text, model, replica).toArray().length;
  }
}
