/**
 * A host as a cloud starts it: a bare Debian (debootstrap) with cloud-init in it, booted with user data in namespaces
 * of its own. What belongs to the cloud or to systemd is stood in for; the rest is what a host has. Needs root.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { until } from '../harness/until.ts';

const standIns = join(import.meta.dirname, 'stand-ins');
const packages = ['ca-certificates', 'cloud-init', 'curl', 'openssl', 'python3-cffi-backend', 'systemd'];

/** The modules of cloud-init that the user data is for, in the stages in which images run them, and no others. */
const cloudConfig = `datasource_list: [NoCloud]
network: {config: disabled}
cloud_init_modules: [write-files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
system_info: {distro: debian, paths: {cloud_dir: /var/lib/cloud/, templates_dir: /etc/cloud/templates/}}
`;

/** As images boot: cloud-init's four stages, each of which does its work once for an instance, and enabled services. */
const boot = `set -e
hostname "$1"
mount -t proc proc /proc
[ ! -e /etc/enabled-units ] || systemctl start
cloud-init init --local
cloud-init init
cloud-init modules --mode config
cloud-init modules --mode final
echo booted
exec sleep 3600
`;

const environment = [
  '-i',
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'LANG=C.UTF-8',
];

/** The first process within the namespaces that `unshare` made. */
const childOf = (pid: number): string =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0] ?? '';

export class CloudHost {
  readonly root: string;
  #machine: ChildProcess | undefined;
  #said = '';

  constructor(root: string) {
    this.root = root;
  }

  /** A minute or two. */
  install(): void {
    const { root } = this;
    const argv = ['--variant=minbase', `--include=${packages.join(',')}`, 'bookworm', root];
    execFileSync('debootstrap', [...argv, 'http://deb.debian.org/debian'], {
      stdio: 'pipe',
      maxBuffer: 2 ** 24,
    });
    rmSync(join(root, 'etc/cloud/cloud.cfg.d'), { recursive: true });
    writeFileSync(join(root, 'etc/cloud/cloud.cfg'), cloudConfig);
    writeFileSync(join(root, 'first-boot'), boot);
    for (const name of ['aws', 'curl', 'systemctl']) {
      copyFileSync(join(standIns, name), join(root, 'usr/local/bin', name));
    }
  }

  path(...parts: string[]): string {
    return join(this.root, ...parts);
  }

  read(path: string): string {
    return existsSync(this.path(path)) ? readFileSync(this.path(path), 'utf8') : '';
  }

  /** Another instance of the same image: cgn stays, of the last one nothing else. */
  become(instance: string, userData: string | Buffer, secret: string): void {
    const old = ['cloud', 'etc/cognitora', 'etc/enabled-units', 'run/units', 'run/cognitora-join'];
    const states = ['var/lib/cognitora', 'var/lib/cloud', 'usr/local/lib/cognitora', 'etc/systemd/system'];
    for (const each of [...old, ...states]) rmSync(this.path(each), { recursive: true, force: true });
    const seed = this.path('var/lib/cloud/seed/nocloud');
    for (const each of [seed, this.path('cloud'), this.path('etc/systemd/system')]) {
      mkdirSync(each, { recursive: true });
    }
    writeFileSync(join(seed, 'meta-data'), `instance-id: ${instance}\ndsmode: local\n`);
    writeFileSync(join(seed, 'user-data'), userData);
    writeFileSync(this.path('cloud/secret'), `${secret}\n`);
  }

  /** One command in it, without booting. Its output; throws where it fails. */
  run(...argv: string[]): string {
    return execFileSync('chroot', [this.root, '/usr/bin/env', ...environment, ...argv], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
  }

  /** Puts the files of that user data where cloud-init would, by itself. */
  writeFilesOf(userData: string): void {
    const { write_files } = JSON.parse(userData.replace(/^#cloud-config\n/, '')) as {
      readonly write_files: readonly Readonly<Record<'path' | 'content' | 'permissions', string>>[];
    };
    for (const { path, content, permissions } of write_files) {
      mkdirSync(dirname(this.path(path)), { recursive: true });
      const mode = Number.parseInt(permissions, 8);
      writeFileSync(this.path(path), gunzipSync(Buffer.from(content, 'base64')), { mode });
    }
  }

  /** A script in the machine that runs, from a pipe, as a person would over SSH. */
  inMachine(script: string): Promise<void> {
    const inside = childOf(this.#machine?.pid ?? 0);
    const shell = ['chroot', this.root, '/usr/bin/env', ...environment, 'sh'];
    const child = spawn('nsenter', ['--target', inside, '--mount', '--uts', '--pid', ...shell], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        this.#said += text;
      });
    }
    child.stdin.end(script);
    return new Promise((accept, reject) => {
      child.once('close', (status) => (status === 0 ? accept() : reject(new Error(this.log()))));
    });
  }

  async boot(name: string): Promise<void> {
    const namespaces = ['--mount', '--uts', '--pid', '--fork', '--kill-child'];
    const shell = ['chroot', this.root, '/usr/bin/env', ...environment, 'sh', '/first-boot', name];
    const machine = spawn('unshare', [...namespaces, ...shell], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#machine = machine;
    this.#said = '';
    for (const stream of [machine.stdout, machine.stderr]) {
      stream.on('data', (text) => {
        this.#said += text;
      });
    }
    const ended = (): boolean => machine.exitCode !== null || machine.signalCode !== null;
    await until(
      `the boot of ${name}`,
      () => /^booted$/m.test(this.#said) || (ended() ? Promise.reject(new Error(this.log())) : undefined),
      120_000,
    );
  }

  /** As a power cut; what is in /run is gone. */
  async powerOff(): Promise<void> {
    const machine = this.#machine;
    if (machine === undefined) return;
    this.#machine = undefined;
    const gone = new Promise((resolve) => machine.once('close', resolve));
    machine.kill('SIGKILL');
    await gone;
    for (const each of ['run/units', 'run/cognitora-join']) {
      rmSync(this.path(each), { recursive: true, force: true });
    }
  }

  log(): string {
    const units = ['join', 'agent', 'kvcached'].map((name) =>
      this.read(`var/log/cognitora-${name}.service.log`),
    );
    return [this.#said, ...units].join('\n---\n');
  }
}
