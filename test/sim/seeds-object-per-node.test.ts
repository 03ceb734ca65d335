/** Seeds of the layout `object-per-node`: nothing is lost, whatever fails. The runs of both layouts go side by side. */
import { runsOfLayout } from './seeds.ts';

runsOfLayout('object-per-node');
