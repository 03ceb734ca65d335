import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { Health } from './health.ts';
import { ServiceManager, systemdNotify, takeServiceEnvironment } from './service-manager.ts';

const loading: Health = { isHealthy: false, says: 'no replica is ready: r0 loading' };
const serving: Health = { isHealthy: true, says: '1 of 1 replicas ready' };

/** A service manager of which the test says when it has heard. */
const managed = (watchdogMs?: number) => {
  const calls: { readonly told: readonly string[]; readonly done: (error?: Error) => void }[] = [];
  const log = vi.fn();
  let health = loading;
  const manager = new ServiceManager({
    watchdogMs,
    notify: (told, done) => calls.push({ told, done }),
    health: () => health,
    log,
  });
  const heard = (error?: Error): readonly string[] | undefined => {
    const call = calls.shift();
    call?.done(error);
    return call?.told;
  };
  const become = (next: Health): void => {
    health = next;
    manager.look();
  };
  return { manager, heard, become, log };
};

test('it is ready once, when the host serves; later troubles are told in words', () => {
  const { heard, become } = managed();
  become(loading);
  expect(heard()).toEqual([`STATUS=${loading.says}`]);
  become(loading);
  expect(heard()).toBeUndefined();
  become(serving);
  expect(heard()).toEqual(['READY=1', `STATUS=${serving.says}`]);
  become(loading);
  expect(heard()).toEqual([`STATUS=${loading.says}`]);
  become(serving);
  expect(heard()).toEqual([`STATUS=${serving.says}`]);
});

test('one message at a time: what comes meanwhile is told at once afterwards, the latest of each', () => {
  const { heard, become } = managed();
  become(loading);
  become({ ...loading, says: 'b\nREADY=1' });
  become(serving);
  expect(heard()).toEqual([`STATUS=${loading.says}`]);
  expect(heard()).toEqual(['STATUS=1 of 1 replicas ready', 'READY=1']);
  become({ ...loading, says: 'b\nREADY=1' });
  expect(heard()).toEqual(['STATUS=b READY=1']);
});

test('the end is told, and waited for', async () => {
  const { manager, heard, become } = managed();
  become(serving);
  const told = manager.stopping();
  expect(heard()).toHaveLength(2);
  expect(heard()).toEqual(['STOPPING=1', 'STATUS=finishing live requests']);
  await told;
});

test('the watchdog hears of the event loop thrice in its time, and as long as the process lives', async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const { manager, heard } = managed(30_000);
  manager.start();
  heard();
  vi.advanceTimersByTime(10_000);
  expect(heard()).toEqual(['WATCHDOG=1']);
  void manager.stopping();
  heard();
  vi.advanceTimersByTime(10_000);
  expect(heard()).toEqual(['WATCHDOG=1']);
});

test('a manager that cannot be told is no reason to stop, and is told of once', () => {
  const { heard, become, log } = managed();
  for (const says of ['a', 'b', 'c']) {
    become({ ...loading, says });
    heard(new Error('spawn systemd-notify ENOENT'));
  }
  expect(log).toHaveBeenCalledTimes(1);
});

test('what the manager asked for is taken out of the environment, so that no engine speaks for us', () => {
  const environment = {
    NOTIFY_SOCKET: '/run/notify',
    WATCHDOG_USEC: '30000000',
    WATCHDOG_PID: '7',
    PATH: '/bin',
  };
  const asked = takeServiceEnvironment(environment, [1, 7]);
  expect(asked).toEqual({ watchdogMs: 30_000, environment: { PATH: '/bin', NOTIFY_SOCKET: '/run/notify' } });
  expect(environment).toEqual({ PATH: '/bin' });
  expect(takeServiceEnvironment({ PATH: '/bin' }, [7])).toBeUndefined();
  const others = { NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '30000000', WATCHDOG_PID: '8' };
  expect(takeServiceEnvironment(others, [1, 7])?.watchdogMs).toBeUndefined();
});

test('the program on the PATH gets each assignment as an argument, and the socket', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'cognitora-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const program = join(directory, 'systemd-notify');
  writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$NOTIFY_SOCKET" "$@" > ${directory}/told\n`);
  chmodSync(program, 0o755);
  const environment = { PATH: `${directory}:/usr/bin:/bin`, NOTIFY_SOCKET: '@here' };
  const notify = systemdNotify(environment);
  const error = await new Promise((done) => notify(['READY=1', 'STATUS=two words; $(id)'], done));
  expect(error).toBeUndefined();
  expect(readFileSync(join(directory, 'told'), 'utf8')).toBe('@here\nREADY=1\nSTATUS=two words; $(id)\n');
  const missing = systemdNotify({ PATH: directory.replace(/.$/, '') });
  expect(await new Promise((done) => missing(['READY=1'], done))).toMatchObject({ code: 'ENOENT' });
});
