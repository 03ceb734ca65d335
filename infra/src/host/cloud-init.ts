/**
 * A host's files and its one script in the two forms in which a host takes them: cloud-init's user data, and a shell
 * script for a host that no cloud starts. Pure, and the same bytes for the same host.
 */
import { gzipSync } from 'node:zlib';
import { type HostFile, type HostSpec, hostFiles, joinProgram } from './host-files.ts';
import { quoted } from './shell.ts';

/**
 * What the smallest of the clouds takes: EC2 16 KiB before base64. The units and install.sh do not fit as they are, so
 * each file is compressed by itself, which cloud-init unpacks.
 */
export const userDataBytesMax = 16 * 1024;

const packed = (text: string): string => {
  const bytes = gzipSync(text, { level: 9 });
  // The header's last byte names the system that packed it: the same bytes everywhere.
  bytes[9] = 255;
  return bytes.toString('base64');
};

/** cloud-init reads YAML, of which JSON is a part. */
export const cloudInit = (host: HostSpec): string => {
  const config = {
    write_files: hostFiles(host).map(({ path, mode, text }: HostFile) => ({
      path,
      permissions: mode,
      owner: 'root:root',
      encoding: 'gz+b64',
      content: packed(text),
    })),
    runcmd: [[joinProgram]],
  };
  const rendered = `#cloud-config\n${JSON.stringify(config, null, 1)}\n`;
  const bytes = Buffer.byteLength(rendered);
  if (bytes > userDataBytesMax) {
    throw new Error(
      `The user data takes ${bytes} bytes, of which a cloud takes ${userDataBytesMax}: shorten setupFile ` +
        'or agentFile, and let the script fetch what is long.',
    );
  }
  return rendered;
};

/** The same as a script that root runs on a host that is there already. */
export const joinScriptFor = (host: HostSpec): string =>
  [
    '#!/bin/sh',
    '# Makes this host a member of the fleet. It holds a join token: run it from a pipe, leave no copy.',
    'set -eu',
    'umask 022',
    'put() { # PATH MODE CONTENT: folders are for all to enter, the file for nobody before it has its mode',
    '  mkdir -p "$(dirname "$1")"',
    '  (umask 077 && printf %s "$3" | base64 -d | gzip -d > "$1")',
    '  chmod "$2" "$1"',
    '}',
    ...hostFiles(host).map(({ path, mode, text }) => `put ${quoted(path)} ${mode} ${packed(text)}`),
    joinProgram,
    '',
  ].join('\n');
