/**
 * A host's files and its one script in the two forms in which a host takes them: cloud-init's user data, and a shell
 * script for a host that no cloud starts. Pure, and the same bytes for the same host.
 */
import { gzipSync } from 'node:zlib';
import { type HostFile, type HostSpec, hostFiles, joinProgram } from './host-files.ts';
import { quoted } from './shell.ts';

/** The least that a cloud takes as it is: Hetzner. Azure takes 64 KiB, Google 256. */
const userDataBytesMax = 32 * 1024;
/** EC2's bound is smaller, but cloud-init unpacks what comes compressed. */
const packedBytesMax = 16 * 1024;

const checkSize = (bytes: number, bytesMax: number): void => {
  if (bytes <= bytesMax) return;
  throw new Error(
    `The user data takes ${bytes} bytes, of which a cloud takes ${bytesMax}: shorten setupFile ` +
      'or agentFile, and let the script fetch what is long.',
  );
};

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
  checkSize(Buffer.byteLength(rendered), userDataBytesMax);
  return rendered;
};

/** User data as EC2 takes it: compressed as a whole, in base64. */
export const packedUserData = (rendered: string): string => {
  const text = packed(rendered);
  checkSize(Buffer.byteLength(text, 'base64'), packedBytesMax);
  return text;
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
