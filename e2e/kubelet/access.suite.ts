import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { eventually } from '../eventually.js';
import type { Cluster } from './cluster.js';
import { containerOf, isReady } from './objects.js';

/** What people do to pods with kubectl. All of it goes through the API server and the kubelet to the runtime. */
export function accessSuite(of: () => Cluster): void {
  before(async () => {
    const { images, pod, create, shell } = of();
    const echo = 'echo begin; while read line; do echo "got $line"; done; exec sleep 1000';
    await create('access', [
      shell('main', echo, { stdin: true }),
      shell('tty', 'stty size; exec sh', { stdin: true, tty: true }),
      { name: 'web', image: images.agnhost, args: ['netexec', '--http-port=8080', '--udp-port=-1'] },
    ]);
    await pod('access', isReady);
  });
  after(async () => {
    await of().remove('access');
  });

  it('logs: the whole, the end, from a time on, as it comes', async () => {
    const { create, kubectl, pod, remove, shell } = of();
    await create(
      'speaks',
      [shell('main', 'for i in 1 2 3 4 5; do echo line $i; done; echo err >&2; sleep 2; echo last')],
      {
        restartPolicy: 'Never',
      },
    );
    await pod('speaks', ({ status }) => status.phase !== 'Pending');
    const followed = await kubectl.run(['logs', '-f', 'speaks']);
    expect(followed).to.equal('line 1\nline 2\nline 3\nline 4\nline 5\nerr\nlast\n');
    expect(await kubectl.run(['logs', 'speaks', '--tail=2'])).to.equal('err\nlast\n');
    expect(await kubectl.run(['logs', 'speaks', '--limit-bytes=6'])).to.equal('line 1');
    const stamped = await kubectl.run(['logs', 'speaks', '--timestamps', '--tail=1']);
    expect(stamped).to.match(/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d) last\n$/);
    const since = stamped.split(' ')[0] ?? '';
    expect(await kubectl.run(['logs', 'speaks', `--since-time=${since}`])).to.equal('last\n');
    await remove('speaks');
  });

  it('exec: streams, exit code and much input', async () => {
    const { kubectl } = of();
    const exec = ['exec', 'access', '-c', 'main'];
    const outcome = await kubectl.outcome([...exec, '--', 'sh', '-c', 'echo out; echo err >&2; exit 42']);
    expect(outcome).to.deep.include({ code: 42, stdout: 'out\n' });
    expect(outcome.stderr).to.equal('err\ncommand terminated with exit code 42\n');
    const input = 'x'.repeat(3_000_000);
    expect(await kubectl.run([...exec, '-i', '--', 'wc', '-c'], input)).to.equal('3000000\n');
    expect((await kubectl.run([...exec, '--', 'head', '-c', '3000000', '/dev/zero'])).length).to.equal(
      3_000_000,
    );
    const missing = await kubectl.outcome([...exec, '--', '/no/such/program']);
    expect(missing.code).to.not.equal(0);
    expect(missing.stderr).to.contain('/no/such/program');
  });

  it('attach: to what is running, with input', async () => {
    const { kubectl } = of();
    const attached = kubectl.start(['attach', '-i', 'access', '-c', 'main', '--quiet']);
    attached.stdin.write('hello\n');
    await says(attached, 'got hello\n');
    attached.kill();
    await once(attached, 'close');
    expect(await kubectl.run(['logs', 'access', '-c', 'main'])).to.match(/^begin\ngot hello\n$/);
  });

  it('port-forward: to a server in the pod, several requests at once', async () => {
    const { kubectl } = of();
    const forward = kubectl.start(['port-forward', 'pod/access', ':8080']);
    const first = await says(forward, /Forwarding from 127\.0\.0\.1:(\d+)/);
    const url = `http://127.0.0.1:${/:(\d+)/.exec(first)?.[1]}`;
    const names = await Promise.all([1, 2, 3, 4].map(async () => (await fetch(`${url}/hostname`)).text()));
    expect(names).to.deep.equal(Array(4).fill('access'));
    const echo = await fetch(`${url}/echo?msg=${'y'.repeat(5000)}`);
    expect(await echo.text()).to.equal('y'.repeat(5000));
    forward.kill();
    await once(forward, 'close');
  });

  it('cp: there and back', async () => {
    const { kubectl } = of();
    const directory = await mkdtemp(path.join(tmpdir(), 'pw-cp-'));
    try {
      const content = Buffer.alloc(1_000_000, 'podwright ');
      await writeFile(path.join(directory, 'file'), content);
      await kubectl.run(['cp', path.join(directory, 'file'), 'access:/tmp/copy', '-c', 'main']);
      await kubectl.run(['cp', 'access:/tmp/copy', path.join(directory, 'back'), '-c', 'main']);
      expect((await readFile(path.join(directory, 'back'))).equals(content)).to.equal(true);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('debug: a container that is added to a running pod, and sees its processes', async () => {
    const { images, kubectl, pod } = of();
    const script = 'tr "\\0" " " </proc/1/cmdline; echo; wget -qO- http://127.0.0.1:8080/hostname';
    await kubectl.run([
      ...['debug', 'access', '--image', images.busybox, '--target=web', '--container=added', '--quiet'],
      ...['--profile=general', '--', 'sh', '-c', script],
    ]);
    const debugged = await pod('access', (seen) => {
      const [added] = seen.status.ephemeralContainerStatuses ?? [];
      return added?.state.terminated !== undefined;
    });
    expect(containerOf(debugged, 'added').state.terminated).to.include({ exitCode: 0 });
    expect(containerOf(debugged, 'web').restartCount).to.equal(0);
    const log = await kubectl.run(['logs', 'access', '-c', 'added']);
    expect(log).to.equal('/agnhost netexec --http-port=8080 --udp-port=-1 \naccess');
  });
}

/** Resolves with everything that a command has written once that holds what it should. */
async function says(child: ChildProcessWithoutNullStreams, wanted: string | RegExp): Promise<string> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
  const holds = (text: string): boolean =>
    typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text);
  const seen = await eventually(async () => output, holds, 30_000);
  if (!holds(seen)) throw new Error(`expected ${String(wanted)}, the command wrote: ${seen}`);
  return seen;
}
