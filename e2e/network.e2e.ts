import { execFile } from 'node:child_process';
import { Resolver } from 'node:dns/promises';
import { access, chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { networkInterfaces, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { Protocol } from '../protos/gen/cri/runtime/v1/api.js';
import { strays } from './audit.js';
import {
  type Bed,
  type Pod,
  type PodConfig,
  addressOf,
  containerConfig,
  exec,
  openBed,
  podConfig,
  removePod,
  runContainer,
  runPod,
} from './bed.js';
import { eventually } from './eventually.js';
import { cniPlugins, imagePrograms } from './places.js';
import { refusal } from './refusal.js';

const run = promisify(execFile);

/** Answers its own name on port 80, and knows one address on UDP port 53 where there is a program for that. */
const server = `mkdir -p /www; hostname >/www/index.html; echo known.test 192.0.2.7 >/names
  [ -x /programs/busybox ] && /programs/busybox dnsd -c /names &
  exec httpd -f -p 80 -h /www`;

async function serve(bed: Bed, pod: Pod): Promise<string> {
  const mounts = [{ containerPath: '/programs', hostPath: imagePrograms, readonly: true }];
  const { id } = await runContainer(bed, pod, containerConfig(bed, 'server', server, { mounts }));
  return id;
}

/** What a web server says, or why it cannot be asked. */
function get(host: string, port = 80): Promise<string> {
  return new Promise((resolve) => {
    const request = http.get({ host, port, timeout: 2000, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(text.trim()));
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    request.on('timeout', () => request.destroy(new Error('time-out')));
  });
}

/** The server needs a moment until it listens. */
const served = (host: string, port: number, by: string): Promise<string> =>
  eventually(
    () => get(host, port),
    (text) => text === by,
  );

/** An address of this machine that is not a loopback's. */
function nodeAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const found = addresses.find(
    ({ family, internal, address }) => family === 'IPv4' && !internal && !address.startsWith('10.2'),
  );
  if (found === undefined) throw new Error('this machine has no address');
  return found.address;
}

const forward = (hostPort: number, containerPort = 80, more: object = {}): PodConfig => ({
  portMappings: [{ hostPort, containerPort, ...more }],
});

describe('the built-in network', () => {
  let bed: Bed;
  before(async () => {
    bed = await openBed();
  });
  after(async () => {
    await bed?.end();
  });

  it('gives each pod an address of its pool, its name and its resolver', async () => {
    const dnsConfig = { servers: ['192.0.2.1'], searches: ['a.example', 'b.example'], options: ['ndots:5'] };
    const pods = await Promise.all([
      runPod(bed, 'first', { dnsConfig, hostname: 'first-host' }),
      runPod(bed, 'second'),
    ]);
    const addresses = await Promise.all(pods.map((pod) => addressOf(bed, pod)));
    const prefix = bed.daemon.instance.pool.replace(/\.0\/24$/, '.');
    for (const address of addresses) expect(address.startsWith(prefix)).to.equal(true);
    expect(new Set(addresses).size).to.equal(2);
    const [first, second] = pods;
    const id = await serve(bed, first);
    const { stdout } = await exec(
      bed,
      id,
      'hostname; cat /etc/hostname /etc/resolv.conf; ip -4 addr show eth0; ip route',
    );
    expect(stdout).to.match(
      /^first-host\nfirst-host\nsearch a\.example b\.example\nnameserver 192\.0\.2\.1\noptions ndots:5\n/,
    );
    expect(stdout).to.contain(`inet ${addresses[0]}/24`).and.to.contain(`default via ${prefix}1 dev eth0`);
    // From the host, and from pod to pod.
    expect(await served(addresses[0] ?? '', 80, 'first-host')).to.equal('first-host');
    const other = await runContainer(bed, second, containerConfig(bed, 'client', 'exec sleep 1000'));
    expect((await exec(bed, other.id, ['wget', '-qO-', `http://${addresses[0]}/`])).stdout).to.equal(
      'first-host\n',
    );
    await Promise.all(pods.map((pod) => removePod(bed, pod)));
  });

  it('forwards host ports: from the host, from loopback, from pods, from the pod itself', async () => {
    const port = 28_101;
    const pod = await runPod(bed, 'forwarded', {
      portMappings: [
        { hostPort: port, containerPort: 80 },
        { hostPort: port, containerPort: 53, protocol: Protocol.UDP },
      ],
    });
    const id = await serve(bed, pod);
    const node = nodeAddress();
    expect(await served('127.0.0.1', port, 'forwarded')).to.equal('forwarded');
    expect(await get(node, port)).to.equal('forwarded');
    const other = await runPod(bed, 'other');
    const client = await runContainer(bed, other, containerConfig(bed, 'client', 'exec sleep 1000'));
    for (const from of [client.id, id])
      expect((await exec(bed, from, ['wget', '-qO-', `http://${node}:${port}/`])).stdout).to.equal(
        'forwarded\n',
      );
    expect(
      await eventually(
        () => resolve('127.0.0.1', port),
        (text) => text === '192.0.2.7',
      ),
    ).to.equal('192.0.2.7');

    const taken = await refusal(
      bed.daemon.client.runtime.runPodSandbox({ config: podConfig(bed, 'third', forward(port)) }),
    );
    expect(status[taken.code]).to.equal('ALREADY_EXISTS');
    expect(taken.details).to.contain(`${port}`).and.to.contain(pod.id);

    // It goes on without the daemon, and through a restart.
    await bed.daemon.kill();
    expect(await get('127.0.0.1', port)).to.equal('forwarded');
    await bed.daemon.start();
    await bed.daemon.client.runtime.status();
    expect(await get(node, port)).to.equal('forwarded');
    await bed.daemon.client.runtime.stopPodSandbox({ podSandboxId: pod.id });
    expect(await get('127.0.0.1', port)).to.equal('ECONNREFUSED');
    const heir = await runPod(bed, 'heir', forward(port));
    await serve(bed, heir);
    expect(await served('127.0.0.1', port, 'heir')).to.equal('heir');
    for (const each of [pod, other, heir]) await removePod(bed, each);
  });

  it('forwards a port of one host address only there', async () => {
    const port = 28_102;
    const pod = await runPod(bed, 'one', forward(port, 80, { hostIp: '127.0.0.1' }));
    await serve(bed, pod);
    expect(await served('127.0.0.1', port, 'one')).to.equal('one');
    expect(await get(nodeAddress(), port)).to.equal('ECONNREFUSED');
    await removePod(bed, pod);
  });

  it('takes the pod range of the node, again after each start, and gives no address twice', async () => {
    const { daemon } = bed;
    const range = `10.${150 + (process.pid % 40)}.${process.pid % 250}.0/26`;
    const prefix = range.replace(/\.0\/26$/, '.');
    const configure = (): Promise<unknown> =>
      daemon.client.runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: range } } });
    const old = await runPod(bed, 'old', forward(28_103));
    await serve(bed, old);
    await configure();
    const pods = [await runPod(bed, 'one'), await runPod(bed, 'two', forward(28_104))];
    await serve(bed, pods[1] ?? old);
    await daemon.kill();
    await daemon.start();
    await configure();
    pods.push(await runPod(bed, 'three'), await runPod(bed, 'four'));
    const addresses = await Promise.all(pods.map((pod) => addressOf(bed, pod)));
    for (const address of addresses) expect(address.startsWith(prefix)).to.equal(true);
    expect(new Set(addresses).size, addresses.join()).to.equal(4);
    // The pods of before keep what they have.
    expect(await served('127.0.0.1', 28_104, 'two')).to.equal('two');
    expect(await served('127.0.0.1', 28_103, 'old')).to.equal('old');
    for (const pod of [old, ...pods]) await removePod(bed, pod);
    expect(await strays(bed)).to.deep.equal([]);
  });

  it('says when the pool is empty, and goes on when a pod has gone', async () => {
    await using small = await openBed({
      settings: { 'network.pool': `10.${100 + (process.pid % 40)}.7.0/29` },
    });
    const pods = await Promise.all([1, 2, 3, 4, 5].map((index) => runPod(small, `full-${index}`)));
    const refused = await refusal(
      small.daemon.client.runtime.runPodSandbox({ config: podConfig(small, 'one-more') }),
    );
    expect(status[refused.code]).to.equal('RESOURCE_EXHAUSTED');
    expect(refused.details).to.match(/address/);
    await removePod(small, pods[2] ?? { id: '', config: {}, logDirectory: '' });
    await runPod(small, 'one-more');
    await small.end();
  });

  it("on the host's network a pod has none of its own", async () => {
    const pod = await runPod(bed, 'host', {
      hostname: '',
      linux: { securityContext: { namespaceOptions: { network: 2 } } },
    });
    expect(await addressOf(bed, pod)).to.equal('');
    const { id } = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'main', 'exec sleep 1000', {
        linux: { securityContext: { namespaceOptions: { network: 2 } } },
      }),
    );
    const { stdout } = await exec(bed, id, 'readlink /proc/self/ns/net; hostname');
    const { stdout: own } = await run('sh', ['-c', 'readlink /proc/self/ns/net; hostname']);
    expect(stdout).to.equal(own);
    await removePod(bed, pod);
  });
});

/** Asks the name server of a pod, by UDP. */
async function resolve(host: string, port: number): Promise<string> {
  const resolver = new Resolver({ timeout: 500, tries: 1 });
  resolver.setServers([`${host}:${port}`]);
  return resolver.resolve4('known.test').then(String, String);
}

describe('without any network', () => {
  it('the node is not ready, and pods are told why', async () => {
    await using bed = await openBed({ settings: { 'network.builtin': 'false' } });
    const { runtime } = bed.daemon.client;
    const { status: node } = await runtime.status();
    const condition = node?.conditions.find(({ type }) => type === 'NetworkReady');
    expect(condition).to.include({ status: false, reason: 'NetworkPluginNotReady' });
    expect(condition?.message).to.contain(bed.daemon.cniDirectory);
    const { code, details } = await refusal(runtime.runPodSandbox({ config: podConfig(bed, 'pod') }));
    expect(status[code]).to.equal('UNAVAILABLE');
    expect(details).to.contain(bed.daemon.cniDirectory);
    await bed.end();
  });
});

describe('a CNI network', function () {
  let bed: Bed;
  let bridge = '';
  let leases = '';
  let plugins = '';
  let networks = 0;

  before(async function () {
    await access(path.join(cniPlugins, 'bridge')).catch(() => this.skip());
    plugins = await mkdtemp(path.join(tmpdir(), 'pw-plugins-'));
    bed = await openBed({ settings: { 'network.bin_dirs': `${cniPlugins},${plugins}` } });
    const { scratch } = bed.daemon.instance;
    bridge = path.basename(scratch).replace('pw-e2e-', 'pwc-');
    leases = path.join(scratch, 'leases');
    await configure([bridgePlugin(), { type: 'portmap', capabilities: { portMappings: true } }]);
  });
  after(async () => {
    try {
      await bed?.end();
    } finally {
      await run('ip', ['link', 'delete', bridge]).catch(() => undefined);
      await rm(plugins, { recursive: true, force: true });
    }
  });

  const bridgePlugin = () => ({
    type: 'bridge',
    bridge,
    isGateway: true,
    ipMasq: false,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir: leases,
      ranges: [[{ subnet: `10.99.${process.pid % 250}.0/24` }]],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  });
  /** Makes the network ready with these plugins, and waits until the daemon has noticed. */
  const configure = async (list: readonly object[]): Promise<void> => {
    networks += 1;
    const name = `test-${networks}`;
    const file = path.join(bed.daemon.cniDirectory, '10-test.conflist');
    await writeFile(file, JSON.stringify({ cniVersion: '1.1.0', name, plugins: list }));
    const log = async (): Promise<string> => {
      await bed.daemon.client.runtime.status();
      return bed.daemon.readLog();
    };
    expect(await eventually(log, (text) => text.includes(`network=${name}`))).to.contain(`network=${name}`);
  };
  const leased = async (): Promise<readonly string[]> => {
    const networks = await readdir(leases).catch(() => []);
    const files = await Promise.all(networks.map((network) => readdir(path.join(leases, network))));
    return files.flat().filter((name) => /^\d/.test(name));
  };
  const cached = (): Promise<readonly string[]> => readdir(path.join(bed.daemon.instance.root, 'cni'));

  it('gives pods what its plugins give, and takes it back', async () => {
    const pod = await runPod(bed, 'pod', forward(28_111));
    const address = await addressOf(bed, pod);
    expect(address).to.match(/^10\.99\./);
    expect(await leased()).to.deep.equal([address]);
    await serve(bed, pod);
    expect(await served(address, 80, 'pod')).to.equal('pod');
    expect(await served('127.0.0.1', 28_111, 'pod')).to.equal('pod');
    await bed.daemon.restart();
    expect(await addressOf(bed, pod)).to.equal(address);
    expect(await leased()).to.deep.equal([address]);
    await bed.daemon.client.runtime.stopPodSandbox({ podSandboxId: pod.id });
    expect(await leased()).to.deep.equal([]);
    expect(await cached()).to.deep.equal([]);
    expect(await get('127.0.0.1', 28_111)).to.equal('ECONNREFUSED');
    await removePod(bed, pod);
  });

  it('has nothing left of a pod that the daemon died with', async () => {
    await bed.daemon.stop();
    await bed.daemon.start({ FAILPOINTS: 'sandbox.run.after-network=crash' });
    await refusal(
      bed.daemon.client.runtime.runPodSandbox({ config: podConfig(bed, 'dying', forward(28_112)) }),
    );
    await bed.daemon.ended();
    expect(await leased()).to.have.length(1);
    await bed.daemon.start();
    expect(await strays(bed)).to.deep.equal([]);
    expect([await leased(), await cached()]).to.deep.equal([[], []]);
  });

  it('has nothing left of a pod whose namespace somebody deleted', async () => {
    const pod = await runPod(bed, 'deleted');
    const [name = ''] = (await readdir('/run/netns')).filter((entry) => entry.endsWith(pod.id.slice(0, 16)));
    await run('ip', ['netns', 'delete', name]);
    await removePod(bed, pod);
    expect([await leased(), await cached()]).to.deep.equal([[], []]);
  });

  it('that fails says what its plugin said, and leaves nothing', async () => {
    await plugin(
      'angry',
      'case $CNI_COMMAND in ADD) echo \'{"code":199,"msg":"no more cables"}\'; exit 1;; esac',
    );
    await configure([bridgePlugin(), { type: 'angry' }]);
    const { code, details } = await refusal(
      bed.daemon.client.runtime.runPodSandbox({ config: podConfig(bed, 'pod') }),
    );
    expect(details).to.contain('no more cables').and.to.contain('angry');
    expect(status[code]).to.equal('UNAVAILABLE');
    expect(await strays(bed)).to.deep.equal([]);
    expect([await leased(), await cached()]).to.deep.equal([[], []]);
  });

  it('that cannot take back is asked again, and the pod is gone all the same', async () => {
    const broken = path.join(plugins, 'broken');
    await plugin(
      'stubborn',
      `case $CNI_COMMAND in DEL) [ -e ${broken} ] && { echo '{"code":5,"msg":"not now"}'; exit 1; };; ADD) sed 's/.*"prevResult"://; s/}$//' ;; esac; exit 0`,
    );
    await writeFile(broken, '');
    await configure([bridgePlugin(), { type: 'stubborn' }]);
    const pod = await runPod(bed, 'pod').catch((error: unknown) => error as Error);
    if (pod instanceof Error) throw pod;
    const { details } = await refusal(bed.daemon.client.runtime.stopPodSandbox({ podSandboxId: pod.id }));
    expect(details).to.contain('not now');
    await bed.daemon.restart();
    await refusal(bed.daemon.client.runtime.removePodSandbox({ podSandboxId: pod.id }));
    await rm(broken);
    await removePod(bed, pod);
    expect(await strays(bed)).to.deep.equal([]);
    expect([await leased(), await cached()]).to.deep.equal([[], []]);
  });

  /** A plugin of our own, a shell script. */
  const plugin = async (name: string, script: string): Promise<void> => {
    const file = path.join(plugins, name);
    const version =
      'case $CNI_COMMAND in VERSION) echo \'{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}\'; exit 0;; esac';
    await writeFile(file, `#!/bin/sh\n${version}\n${script}\n`);
    await chmod(file, 0o755);
  };
});
