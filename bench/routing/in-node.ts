/** The bench inside Node: a process that measures one cell per command. */
import { serveCommands } from '../machine/worker-process.ts';
import { type CellFigures, measureCell, type Plan } from './measure.ts';

serveCommands<Plan, CellFigures>(async (plan) => measureCell(plan, () => performance.now()));
