/** Seeds of the layout `one-object`: nothing is lost, whatever fails. The runs of both layouts go side by side. */
import { runsOfLayout } from './seeds.ts';

runsOfLayout('one-object');
