/** What the store tells Prometheus, per tier. Text only; counts nothing of its own. */
import { MetricsPage } from '@cognitora/protocol/metrics-page';
import type { KvStore } from './store.ts';

export const metricsText = ({ ram, ssd, counts }: KvStore): string => {
  const page = new MetricsPage();
  const memory = { tier: 'ram' };
  const disk = { tier: 'ssd' };
  page.gauge('cognitora_kv_values', 'Values held.', memory, ram.counts.values);
  page.gauge('cognitora_kv_bytes', 'Bytes taken.', memory, ram.counts.bytes);
  page.gauge('cognitora_kv_bytes_max', 'Bytes that may be taken.', memory, ram.counts.bytesMax);
  page.gauge(
    'cognitora_kv_pinned_bytes',
    'Bytes of values that are never evicted.',
    memory,
    ram.counts.pinnedBytes,
  );
  page.counter('cognitora_kv_hits_total', 'Values asked for and given.', memory, counts.ramHits);
  page.counter('cognitora_kv_evictions_total', 'Values that made room.', memory, ram.counts.evictions);
  page.counter('cognitora_kv_puts_total', 'Values stored.', memory, counts.puts);
  page.counter('cognitora_kv_refusals_total', 'Values that there was no room for.', memory, counts.refusals);
  page.counter('cognitora_kv_misses_total', 'Values asked for that no tier had.', {}, counts.misses);
  if (ssd === undefined) return page.text;
  page.gauge('cognitora_kv_values', 'Values held.', disk, ssd.counts.values);
  page.gauge('cognitora_kv_bytes', 'Bytes taken.', disk, ssd.counts.bytes);
  page.gauge('cognitora_kv_bytes_max', 'Bytes that may be taken.', disk, ssd.counts.bytesMax);
  page.gauge('cognitora_kv_dirty_bytes', 'Bytes that wait to be written.', disk, ssd.counts.dirtyBytes);
  page.counter('cognitora_kv_hits_total', 'Values asked for and given.', disk, counts.ssdHits);
  page.counter('cognitora_kv_evictions_total', 'Values that made room.', disk, ssd.counts.evictions);
  page.counter('cognitora_kv_written_total', 'Values written.', disk, ssd.counts.written);
  page.counter(
    'cognitora_kv_skipped_total',
    'Values too large, or too many at once, to be written.',
    disk,
    ssd.counts.skipped,
  );
  page.counter('cognitora_kv_unread_total', 'Values here that could not be given.', disk, counts.ssdMisses);
  page.counter(
    'cognitora_kv_corrupt_total',
    'Values that were not as they were written.',
    disk,
    ssd.counts.corrupt,
  );
  page.counter('cognitora_kv_errors_total', 'Failures of the disk.', disk, ssd.counts.errors);
  return page.text;
};
