/**
 * Log-probabilities as the model gave them, from what the sampler returns. Pure. The sampler's probabilities
 * are after temperature: p_T ~ p^(1/T). Raising them to T and normalising again gives the model's own. Where
 * top_k, top_p or min_p removed tokens first, the rest is normalised without them.
 */

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
  /** The most likely alternatives, the chosen token among them if it is one; as many as were asked for. */
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

/** OpenAI's value for "so unlikely that the number does not matter". */
const impossible = -9999;

/** `probabilities` must be sorted from the most likely token down, as the native sampler does. */
export function tokenLogprob(
  token: number,
  probabilities: ReadonlyMap<number, number>,
  options: { readonly temperature: number; readonly top: number },
): TokenLogprob {
  const power = options.temperature > 0 ? options.temperature : 1;
  let sum = 0;
  for (const probability of probabilities.values()) sum += probability ** power;
  const logSum = Math.log(sum);
  const logprobOf = (probability: number): number =>
    probability > 0 ? Math.max(impossible, Math.min(0, power * Math.log(probability) - logSum)) : impossible;
  const top: { token: number; logprob: number }[] = [];
  for (const [candidate, probability] of probabilities) {
    if (top.length >= options.top) break;
    top.push({ token: candidate, logprob: logprobOf(probability) });
  }
  return { token, logprob: logprobOf(probabilities.get(token) ?? 0), top };
}
