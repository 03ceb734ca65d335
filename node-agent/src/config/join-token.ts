/** What is given as a join token: nobody dials with what can be none. */
import { ConfigError } from '@cognitora/protocol/config/config-error';
import { parseToken } from '@cognitora/protocol/identity';

/** Throws a `ConfigError` that names where it is from, and never what it says. */
export const checkedJoinToken = (text: string, from: string): string => {
  if (parseToken('joinToken', text) !== undefined) return text;
  throw new ConfigError(
    `${from} holds no join token: that is "cgj_" and 43 letters, digits, "-" or "_", without spaces, ` +
      'as "cgn keys join" prints it.',
  );
};
