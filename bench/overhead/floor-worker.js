/**
 * The bare Worker proxy that the edge is measured against: the least a Worker can do with a request and pass
 * it on. Plain JavaScript because workerd embeds it as it is.
 */
export default {
  fetch(request, env) {
    return fetch(env.ENGINE + new URL(request.url).pathname, request);
  },
};
