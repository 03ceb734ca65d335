/**
 * Names by which a host is asked: addresses, and its own name for itself. Pure, so that the daemons of all rooms refuse
 * the same: a page in a browser may have its own name resolve to loopback, and must not read what stands there.
 */

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const version4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`);

/** An IP address as text, without brackets. */
export const isAddress = (text: string, version?: 4 | 6): boolean => {
  const is4 = version4.test(text);
  if (version === 4 || is4) return is4 && version !== 6;
  return text.includes(':') && /^[0-9A-Fa-f:.]+$/.test(text) && URL.canParse(`http://[${text}]`);
};

/** Reached from this host alone. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isAddress(host, 4) && host.startsWith('127.'));

/** A request's `Host`: an address, or this host by the name that every host gives itself. */
export const isOwnName = (host: string | undefined): boolean => {
  if (host === undefined || !URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  return hostname === 'localhost' || isAddress(hostname.replace(/^\[|\]$/g, ''));
};
