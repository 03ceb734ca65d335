/**
 * What turns a bare Linux host with systemd into a member of a fleet: files, and one script that is run once. The same
 * for each cloud but for where the join token is kept. Pure: what it embeds of this repository is handed in.
 */
import { quoted } from './shell.ts';
import { type TokenSource, tokenFile, tokenLines } from './token-source.ts';

/** Files of the repository that go to the host as they are. */
export interface HostSources {
  readonly installScript: string;
  readonly agentUnit: string;
  readonly kvcachedUnit: string;
}

export interface HostSpec {
  /** The edge's origin. */
  readonly edge: string;
  /** The edge's region, or its first one. */
  readonly region: string | undefined;
  readonly release: string;
  /** A mirror of the releases, if not where install.sh finds them. */
  readonly releaseUrl: string | undefined;
  readonly token: TokenSource;
  /** The text of agent.toml. */
  readonly agentConfig: string;
  /** With it the host shares KV: the text of kvcached.toml. */
  readonly kvcachedConfig: string | undefined;
  /** A script that runs before the agent starts: drivers, engines. */
  readonly setup: string | undefined;
  readonly sources: HostSources;
}

export interface HostFile {
  readonly path: string;
  readonly mode: '0600' | '0644' | '0755';
  readonly text: string;
}

export const joinProgram = '/usr/local/lib/cognitora/join';
const fetchProgram = '/usr/local/lib/cognitora/fetch-join-token';
const installProgram = '/usr/local/lib/cognitora/install.sh';
const setupProgram = '/usr/local/lib/cognitora/setup';
/** Where the units of docs/ expect it. */
const prefix = '/opt/cognitora';
const units = '/etc/systemd/system';
const tokenDirectory = '/run/cognitora-join';
const certificates = '/var/lib/cognitora/agent/certificates.json';
const kvcachedSocket = '/var/lib/cognitora/kvcached/kvcached.sock';

/** Where KV daemons meet; the only port that a fleet opens, and only inside itself. */
export const peerPort = 6381;

/** Of one that shares KV and says no more: the peer port on every address; the cloud's rules say who reaches it. */
export const kvcachedConfigDefault = `[peers]\nlisten = ["0.0.0.0:${peerPort}"]\n`;

/**
 * Credentials of a host are to be had at this address by whoever runs on it. The agent and its engines need none. On
 * Google's cloud the same address is the host's DNS server, so there it stays open.
 */
const metadataRule = ({ kind }: TokenSource): readonly string[] =>
  kind === 'gcp' ? [] : ['IPAddressDeny=169.254.169.254/32'];

const fetchScript = ({ edge, token }: HostSpec): string =>
  [
    '#!/bin/sh',
    '# Fetches the join token for an agent that has not joined yet; a host that has needs none.',
    'set -eu',
    'umask 077',
    `if grep -qsF '"${new URL(edge).origin}"' ${certificates}; then exit 0; fi`,
    `install -d -m 0750 -g cognitora ${tokenDirectory}`,
    'fetch() {',
    ...tokenLines(token).map((line) => `  ${line}`),
    '}',
    `fetch > ${tokenDirectory}/new`,
    `if ! grep -q '^cgj_' ${tokenDirectory}/new; then`,
    '  echo \'What the secret store holds is no join token: make one with "cgn keys join".\' >&2',
    '  exit 1',
    'fi',
    `chgrp cognitora ${tokenDirectory}/new`,
    `chmod 0440 ${tokenDirectory}/new`,
    `mv ${tokenDirectory}/new ${tokenDirectory}/token`,
    '',
  ].join('\n');

const joinScript = (host: HostSpec): string => {
  const { release, releaseUrl, kvcachedConfig, setup } = host;
  const services = ['cognitora-agent.service'];
  if (kvcachedConfig !== undefined) services.push('cognitora-kvcached.service');
  return [
    '#!/bin/sh',
    '# Run once, as root, by cloud-init or by hand: installs cgn and starts what joins. May be run again.',
    'set -eu',
    'umask 022',
    'if ! id -u cognitora >/dev/null 2>&1; then',
    '  useradd --system --user-group --no-create-home --shell /usr/sbin/nologin cognitora',
    'fi',
    '# They own the GPUs, where there are such groups.',
    'for group in video render; do',
    '  if getent group "$group" >/dev/null; then usermod -a -G "$group" cognitora; fi',
    'done',
    'chown root:cognitora /etc/cognitora/*.toml',
    'chmod 0640 /etc/cognitora/*.toml',
    ...(setup === undefined ? [] : [setupProgram]),
    '# A network that is not up yet, or a mirror that is busy: a minute of tries.',
    'tries=0',
    `export CGN_VERSION=${quoted(release)} CGN_PREFIX=${prefix}`,
    ...(releaseUrl === undefined ? [] : [`export CGN_BASE_URL=${quoted(releaseUrl)}`]),
    `until sh ${installProgram}; do`,
    '  tries=$((tries + 1))',
    '  if [ "$tries" -ge 6 ]; then exit 1; fi',
    '  sleep 10',
    'done',
    'systemctl daemon-reload',
    `systemctl enable ${services.join(' ')}`,
    '# A model may load for an hour: nobody waits here for the agent to be ready.',
    `systemctl start --no-block ${services.join(' ')}`,
    '',
  ].join('\n');
};

/** Before each start of the agent; it is gone once the agent is ready, so the next start asks again if it must. */
const joinUnit = `# Fetches the join token before the agent starts, as root: the agent has no credentials.
[Unit]
Description=Cognitora: fetches the join token of a host that has not joined yet
Wants=network-online.target
After=network-online.target
Before=cognitora-agent.service

[Service]
Type=oneshot
ExecStart=${fetchProgram}
TimeoutStartSec=300
`;

const agentDropIn = ({ edge, region, token, kvcachedConfig }: HostSpec): string =>
  [
    '# What the fleet adds to the service. Variables go before agent.toml.',
    '[Unit]',
    'Wants=cognitora-join.service',
    'After=cognitora-join.service',
    '',
    '[Service]',
    `Environment=COGNITORA_EDGE=${edge}`,
    ...(region === undefined ? [] : [`Environment=COGNITORA_REGION=${region}`]),
    ...(kvcachedConfig === undefined ? [] : [`Environment=COGNITORA_KVCACHED=${kvcachedSocket}`]),
    `Environment=COGNITORA_JOIN_TOKEN_FILE=${tokenDirectory}/token`,
    '# It has joined: the token is of no use any more.',
    `ExecStartPost=+/bin/rm -rf ${tokenDirectory}${token.kind === 'user-data' ? ` ${tokenFile}` : ''}`,
    ...metadataRule(token),
    '',
  ].join('\n');

const kvcachedDropIn = ({ token }: HostSpec): string =>
  ['# What the fleet adds to the service.', '[Service]', ...metadataRule(token), ''].join('\n');

/** Everything that a host gets, in the order of its paths; `joinProgram` is then run as root. */
export const hostFiles = (host: HostSpec): readonly HostFile[] => {
  const { kvcachedConfig, setup, sources } = host;
  const files: HostFile[] = [
    { path: joinProgram, mode: '0755', text: joinScript(host) },
    { path: fetchProgram, mode: '0755', text: fetchScript(host) },
    { path: installProgram, mode: '0755', text: sources.installScript },
    { path: '/etc/cognitora/agent.toml', mode: '0600', text: host.agentConfig },
    { path: `${units}/cognitora-agent.service`, mode: '0644', text: sources.agentUnit },
    { path: `${units}/cognitora-agent.service.d/10-fleet.conf`, mode: '0644', text: agentDropIn(host) },
    { path: `${units}/cognitora-join.service`, mode: '0644', text: joinUnit },
  ];
  if (kvcachedConfig !== undefined) {
    files.push(
      { path: '/etc/cognitora/kvcached.toml', mode: '0600', text: kvcachedConfig },
      { path: `${units}/cognitora-kvcached.service`, mode: '0644', text: sources.kvcachedUnit },
      {
        path: `${units}/cognitora-kvcached.service.d/10-fleet.conf`,
        mode: '0644',
        text: kvcachedDropIn(host),
      },
    );
  }
  if (host.token.kind === 'user-data') {
    files.push({ path: tokenFile, mode: '0600', text: `${host.token.token}\n` });
  }
  if (setup !== undefined) files.push({ path: setupProgram, mode: '0755', text: setup });
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
};
