import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import {
  type DeepPartial,
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType,
} from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  hostNetwork,
  openBed,
  pidOf,
  runContainer,
  runPod,
} from './bed.js';
import { refusal } from './refusal.js';

const run = promisify(execFile);
const { RuntimeDefault, Unconfined, Localhost } = SecurityProfile_ProfileType;

type Security = DeepPartial<LinuxContainerSecurityContext>;

/** Of the node, not of ours: it lets nobody write below /tmp. */
const ownProfile = 'podwright-e2e-no-tmp';
const ownText = `profile ${ownProfile} flags=(attach_disconnected) {
  file, capability, network, signal, ptrace,
  deny /tmp/** w,
}`;

async function parse(option: '--replace' | '--remove', text: string): Promise<void> {
  const call = run('apparmor_parser', [option, '--skip-cache']);
  call.child.stdin?.end(text);
  await call;
}

async function enabled(): Promise<boolean> {
  const text = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => '');
  return text.startsWith('Y');
}

describe('AppArmor profiles', function () {
  this.timeout(60_000);
  let bed: Bed;
  let pod: Pod;
  let containers = 0;

  before(async function () {
    if (!(await enabled())) return this.skip(); // needs a kernel with AppArmor: npm run e2e:vm
    await parse('--replace', ownText);
    bed = await openBed();
    const linux = { securityContext: { ...hostNetwork.linux?.securityContext, privileged: true } };
    pod = await runPod(bed, 'apparmor', { linux });
  });

  after(async function () {
    this.timeout(60_000);
    await bed?.end();
    if (await enabled()) await parse('--remove', ownText);
  });

  const config = (securityContext: Security) =>
    containerConfig(bed, `c${containers++}`, 'sleep 1000', { linux: { securityContext } });

  const start = async (security: Security): Promise<string> =>
    (await runContainer(bed, pod, config(security))).id;

  /** What the kernel says of the container's init, and of an exec in it. */
  const inForce = async (id: string): Promise<readonly [string, string]> => {
    const init = await readFile(`/proc/${await pidOf(bed, id)}/attr/apparmor/current`, 'utf8');
    const { stdout } = await exec(bed, id, 'cat /proc/self/attr/apparmor/current');
    return [init.trim(), stdout.trim()];
  };

  const both = (profile: string) => [profile, profile];

  for (const [name, security, expected] of [
    ['none asked for', {}, 'podwright-default (enforce)'],
    ['RuntimeDefault', { apparmor: { profileType: RuntimeDefault } }, 'podwright-default (enforce)'],
    ['runtime/default', { apparmorProfile: 'runtime/default' }, 'podwright-default (enforce)'],
    [
      'RuntimeDefault with no_new_privs',
      { apparmorProfile: '', noNewPrivs: true },
      'podwright-default (enforce)',
    ],
    [
      'Localhost',
      { apparmor: { profileType: Localhost, localhostRef: ownProfile } },
      `${ownProfile} (enforce)`,
    ],
    ['localhost/NAME', { apparmorProfile: `localhost/${ownProfile}` }, `${ownProfile} (enforce)`],
    ['Unconfined', { apparmor: { profileType: Unconfined } }, 'unconfined'],
    ['privileged', { privileged: true }, 'unconfined'],
  ] as [string, Security, string][]) {
    it(`are in force in init and exec: ${name}`, async () => {
      expect(await inForce(await start(security))).to.deep.equal(both(expected));
    });
  }

  it('of the node forbid what they say', async () => {
    const id = await start({ apparmorProfile: `localhost/${ownProfile}` });
    const { exitCode, stderr } = await exec(bed, id, 'touch /root-file && touch /tmp/x');
    expect([exitCode, stderr]).to.deep.equal([1, 'touch: /tmp/x: Permission denied\n']);
  });

  it('that nobody loaded are refused by name', async () => {
    const apparmor = { profileType: Localhost, localhostRef: 'podwright-e2e-absent' };
    const { code, details } = await refusal(createContainer(bed, pod, config({ apparmor })));
    expect(code).to.equal(status.FAILED_PRECONDITION);
    expect(details).to.include('podwright-e2e-absent').and.include('is not loaded');
  });

  it('reach the kernel whatever is mounted on /proc', async () => {
    const fake = `${bed.daemon.instance.scratch}/fake-proc`;
    const mounts = [{ containerPath: '/proc', hostPath: fake }];
    const wished = { ...config({}), mounts };
    const id = await runContainer(bed, pod, wished).then(
      (workload) => workload.id,
      () => undefined,
    );
    if (id === undefined) return;
    const profile = await readFile(`/proc/${await pidOf(bed, id)}/attr/apparmor/current`, 'utf8');
    expect(profile).to.equal('podwright-default (enforce)\n');
  });

  it('of ours are loaded again when somebody removed them', async () => {
    await run('/bin/sh', ['-c', 'printf podwright-default >/sys/kernel/security/apparmor/.remove']);
    expect(await inForce(await start({}))).to.deep.equal(both('podwright-default (enforce)'));
  });

  describe('our default one', () => {
    let confined: string;

    before(async () => {
      // The node's /sys, writable: what the profile says is all that stands before it.
      const mounts = [{ containerPath: '/sys', hostPath: '/sys' }];
      const wished = { ...config({ capabilities: { addCapabilities: ['ALL'] } }), mounts };
      confined = (await runContainer(bed, pod, wished)).id;
    });

    for (const [what, script] of [
      ['a mount', 'mkdir -p /m && mount -t tmpfs none /m'],
      ['a bind mount', 'mkdir -p /m && mount -o bind /etc /m'],
      ['a mount made writable', 'mount -o remount,rw /sys'],
      ['unmounting what covers /proc', 'umount /proc'],
      ['a sysctl', 'echo 1 >/proc/sys/kernel/panic'],
      ['the magic SysRq key', 'echo h >/proc/sysrq-trigger'],
      ["the kernel's memory", 'head -c 1 /proc/kcore'],
      ['a setting in /sys', 'echo 1 >/sys/kernel/mm/ksm/run'],
      ['policies', 'ls /sys/kernel/security/apparmor'],
      ['another profile', 'echo exec unconfined >/proc/self/attr/apparmor/exec'],
    ] as const) {
      it(`denies ${what}, even with every capability`, async () => {
        const { exitCode, stderr } = await exec(bed, confined, script);
        expect(exitCode).to.not.equal(0);
        expect(stderr).to.match(/denied|not permitted/);
      });
    }

    it('leaves ordinary work alone', async () => {
      const script = [
        'echo text >/tmp/file && chmod 700 /tmp/file && chown 1:1 /tmp/file && rm /tmp/file',
        'sleep 100 & kill $! && echo 5 >/proc/self/oom_score_adj && cat /proc/1/status >/dev/null',
        'mknod /tmp/null c 1 3 && hostname >/dev/null && ls /sys/class/net >/dev/null',
      ].join(' && ');
      expect(await exec(bed, confined, script)).to.include({ exitCode: 0, stderr: '' });
    });
  });
});
