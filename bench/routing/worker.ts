/** The bench inside workerd: one request measures one cell. workerd's clock moves while code runs, by whole ms. */
import { measureCell, type Plan } from './measure.ts';

export default {
  async fetch(request: Request): Promise<Response> {
    if (request.method !== 'POST') return new Response('ready');
    const plan = (await request.json()) as Plan;
    return Response.json(measureCell(plan, () => performance.now()));
  },
};
