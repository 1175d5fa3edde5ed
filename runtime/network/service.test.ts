import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pidfdOpen, pidfdSendSignal, umount, waitPidfd } from '../../native/index.js';
import { nativeProgram } from '../instance.js';
import { silentLogger } from '../base/logger.js';
import { RuntimeError } from '../errors.js';
import { openHelper, runPlan } from '../monitor/index.js';
import { compilePausePlan, encodePlan } from '../plan/compile.js';
import { openNetwork } from './service.js';
import type { NetworkRequest, NetworkService, PreparedNetwork } from './types.js';

const instance = process.pid.toString(16).padStart(8, '0');
const bridge = `pwt${process.pid}`;
const cniDirs = [process.env['PODWRIGHT_CNI_BIN'] ?? '', '/opt/cni/bin', '/usr/lib/cni'].filter(
  (directory) => directory !== '',
);
const signal = new AbortController().signal;

/** The pod network with a real pause process. */
describe('pod network', () => {
  let scratch: string;
  let helperFd: number;
  let network: NetworkService;
  const undo: (() => Promise<void>)[] = [];

  before(async function () {
    if (process.getuid?.() !== 0) return this.skip(); // needs root: namespaces, bridges, nftables
    helperFd = await openHelper(nativeProgram('podwright-init'));
    return undefined;
  });

  beforeEach(async () => {
    scratch = await mkdtemp(path.join(tmpdir(), 'podwright-network-'));
  });

  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
    await rm(scratch, { recursive: true });
  });

  after(() => {
    if (process.getuid?.() !== 0) return;
    for (const family of ['ip', 'ip6']) {
      execFileSync('nft', ['-f', '-'], {
        input: `add table ${family} podwright-${instance}\ndelete table ${family} podwright-${instance}\n`,
      });
    }
    execFileSync('sh', ['-c', `ip link delete ${bridge} 2>/dev/null || true`]);
  });

  async function open(builtin: boolean): Promise<void> {
    network = await openNetwork({
      confDir: path.join(scratch, 'net.d'),
      binDirs: cniDirs,
      cacheDir: path.join(scratch, 'cache'),
      logger: silentLogger,
      builtin: builtin
        ? {
            instance,
            bridge,
            pools: ['10.231.77.0/24', 'fd77:231::/120'],
            mtu: 0,
            runPlan: async (plan) => {
              await runPlan({ helperFd, plan: encodePlan(plan) });
            },
          }
        : undefined,
    });
    undo.push(() => network.close());
  }

  function request(id: string, ports: NetworkRequest['portMappings'] = []): NetworkRequest {
    return {
      sandboxId: id.repeat(64).slice(0, 64),
      netnsPath: path.join(scratch, `netns-${id}`),
      pod: { name: 'pod', namespace: 'default', uid: 'u1' },
      hostname: 'pod',
      portMappings: ports,
      dns: { servers: [], searches: [], options: [] },
      bandwidth: {},
      cgroupPath: '/',
    };
  }

  async function startPause(wanted: NetworkRequest, prepared: PreparedNetwork): Promise<void> {
    const plan = compilePausePlan({
      namespaces: { network: 'pod', pid: 'container', ipc: 'pod' },
      hostname: 'pod',
      sysctls: {},
      shmSizeBytes: 1 << 20,
      pinNetns: wanted.netnsPath,
      network: prepared,
      cgroup: { v1TasksPaths: [], unifiedPath: undefined },
    });
    const { pid } = await runPlan({ helperFd, plan: encodePlan(plan) });
    const pidfd = pidfdOpen(pid ?? 0);
    undo.push(async () => {
      pidfdSendSignal(pidfd, 9);
      await waitPidfd(pidfd);
      umount(wanted.netnsPath, 2);
    });
  }

  const inside = (wanted: NetworkRequest, ...command: readonly string[]): string =>
    execFileSync('nsenter', [`--net=${wanted.netnsPath}`, ...command], { encoding: 'utf8' });

  describe('built-in', () => {
    beforeEach(() => open(true));

    it('gives a pod addresses of both families, a default route and a gateway that answers', async () => {
      const wanted = request('a');
      const prepared = await network.prepare(wanted, signal);
      await startPause(wanted, prepared);
      const result = await prepared.attach(signal);
      expect(result.ips).to.have.length(2);
      expect(inside(wanted, 'ip', '-o', 'addr', 'show', 'dev', 'eth0')).to.include(
        `${result.ips[0] ?? ''}/24`,
      );
      expect(inside(wanted, 'ip', 'route')).to.include('default via 10.231.77.1');
      expect(inside(wanted, 'ip', 'link', 'show', 'lo')).to.include('UP');
      inside(wanted, 'busybox', 'ping', '-c', '1', '-W', '2', '10.231.77.1');
      await network.detach(prepared.attachment, signal);
      await network.detach(prepared.attachment, signal);
    });

    it('forwards a host port, and refuses it to a second pod by name', async () => {
      const port = { protocol: 'tcp', containerPort: 80, hostPort: 31999, hostIp: '' } as const;
      const wanted = request('b', [port]);
      const prepared = await network.prepare(wanted, signal);
      await startPause(wanted, prepared);
      const { ips } = await prepared.attach(signal);
      expect(
        execFileSync('nft', ['list', 'table', 'ip', `podwright-${instance}`], { encoding: 'utf8' }),
      ).to.include(`tcp . 31999 : ${ips[0] ?? ''} . 80`);
      const error = await network
        .prepare(request('c', [{ ...port, hostIp: '127.0.0.1' }]), signal)
        .catch((thrown: unknown) => thrown);
      expect(error)
        .to.be.instanceOf(RuntimeError)
        .with.property('message')
        .that.includes('host port 31999/tcp is taken by');
      await network.detach(prepared.attachment, signal);
      expect(
        execFileSync('nft', ['list', 'table', 'ip', `podwright-${instance}`], { encoding: 'utf8' }),
      ).not.to.include('31999');
    });
  });

  describe('CNI', () => {
    const list = {
      cniVersion: '1.0.0',
      name: `podwright-test-${process.pid}`,
      plugins: [
        { type: 'ptp', ipam: { type: 'host-local', ranges: [[{ subnet: '10.231.78.0/24' }]], dataDir: '' } },
        { type: 'portmap', capabilities: { portMappings: true } },
      ],
    };

    it('says what is missing before there is a configuration, and notices one that appears', async () => {
      await open(false);
      expect(await network.status()).to.deep.include({
        ready: false,
        message: `no CNI configuration in ${path.join(scratch, 'net.d')}`,
      });
      execFileSync('mkdir', [path.join(scratch, 'net.d')]);
      await writeFile(path.join(scratch, 'net.d', '10-bad.conflist'), '{');
      await settled(async () => (await network.status()).message.includes('10-bad.conflist'));
    });

    it('names a plugin that is missing', async () => {
      execFileSync('mkdir', [path.join(scratch, 'net.d')]);
      await writeFile(
        path.join(scratch, 'net.d', '10.conflist'),
        JSON.stringify({ ...list, plugins: [{ type: 'no-such-plugin' }] }),
      );
      await open(false);
      expect((await network.status()).message).to.include('CNI plugin "no-such-plugin" is not in');
      const error = await network.prepare(request('d'), signal).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(RuntimeError).with.property('code', 'FailedPrecondition');
    });

    it('adds and deletes a pod through real plugins', async function () {
      if (!cniDirs.some((directory) => existsSync(path.join(directory, 'ptp')))) return this.skip(); // needs the CNI plugin ptp
      execFileSync('mkdir', [path.join(scratch, 'net.d')]);
      const plugins = [
        {
          type: 'ptp',
          ipam: {
            type: 'host-local',
            ranges: [[{ subnet: '10.231.78.0/24' }]],
            dataDir: path.join(scratch, 'ipam'),
          },
        },
      ];
      await writeFile(path.join(scratch, 'net.d', '10.conflist'), JSON.stringify({ ...list, plugins }));
      await open(false);
      const wanted = request('e');
      const prepared = await network.prepare(wanted, signal);
      await startPause(wanted, prepared);
      const result = await prepared.attach(signal);
      expect(result.ips[0]).to.match(/^10\.231\.78\./);
      expect(inside(wanted, 'ip', '-o', 'addr', 'show', 'dev', 'eth0')).to.include(result.ips[0]);
      await network.detach(prepared.attachment, signal);
      expect(() => inside(wanted, 'ip', 'link', 'show', 'eth0')).to.throw();
      await network.detach(prepared.attachment, signal);
      return undefined;
    });

    it('refuses values that would break CNI_ARGS apart', async () => {
      execFileSync('mkdir', [path.join(scratch, 'net.d')]);
      await writeFile(
        path.join(scratch, 'net.d', '10.conflist'),
        JSON.stringify({ ...list, plugins: [{ type: 'loopback' }] }),
      );
      await open(false);
      const evil = { ...request('f'), pod: { name: 'a;K8S_POD_NAME=b', namespace: 'x', uid: 'u' } };
      const error = await network.prepare(evil, signal).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(RuntimeError).with.property('code', 'InvalidArgument');
    });
  });
});

/** Waits for a change that inotify brings: each look gives the event loop a turn. */
async function settled(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}
