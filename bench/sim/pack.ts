/**
 * Makes a packed trace of one in JSONL, to stdout: how bench/sim/fixtures came to be.
 *
 *   node bench/sim/pack.ts TRACE.jsonl.gz > bench/sim/fixtures/TRACE.packed.txt
 */
import { packTrace } from './packed-trace.ts';
import { readTrace } from './trace.ts';

const [path] = process.argv.slice(2);
if (path === undefined) {
  process.stderr.write('node bench/sim/pack.ts TRACE.jsonl.gz: name the trace to pack\n');
  process.exitCode = 2;
} else {
  process.stdout.write(packTrace(readTrace(path).requests));
}
