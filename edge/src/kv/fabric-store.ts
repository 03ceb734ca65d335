/**
 * The roster of a region's fabric, kept durably in its own database: when the object starts anew, those whose links are
 * not there yet still belong to the fleet. Writes what changed, and no more.
 */

import type { NodeId } from '@cognitora/protocol/ids';
import type { FabricPeer } from '@cognitora/protocol/kv-daemon';
import { jsonRecordIn } from '@cognitora/protocol/shape';

export class FabricStore {
  readonly #sql: SqlStorage;
  /** As the table has it. */
  readonly #saved = new Map<NodeId, string>();

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec('CREATE TABLE IF NOT EXISTS kv_peers (node TEXT PRIMARY KEY, peer TEXT NOT NULL) WITHOUT ROWID');
    for (const { node, peer } of sql.exec('SELECT node, peer FROM kv_peers')) {
      this.#saved.set(node as NodeId, String(peer));
    }
  }

  /** The roster that was saved last. */
  get peers(): readonly FabricPeer[] {
    return Array.from(this.#saved.values(), (peer) => jsonRecordIn(peer) as unknown as FabricPeer);
  }

  save(roster: readonly FabricPeer[]): void {
    const listed = new Set(roster.map(({ node }) => node));
    for (const node of [...this.#saved.keys()]) if (!listed.has(node)) this.#delete(node);
    for (const peer of roster) this.#write(peer.node, JSON.stringify(peer));
  }

  #write(node: NodeId, peer: string): void {
    if (this.#saved.get(node) === peer) return;
    this.#sql.exec(
      'INSERT INTO kv_peers VALUES (?1, ?2) ON CONFLICT (node) DO UPDATE SET peer = ?2',
      node,
      peer,
    );
    this.#saved.set(node, peer);
  }

  #delete(node: NodeId): void {
    this.#sql.exec('DELETE FROM kv_peers WHERE node = ?', node);
    this.#saved.delete(node);
  }
}
