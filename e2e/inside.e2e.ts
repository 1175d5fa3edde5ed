import { readFile, readdir, readlink, stat } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  type Workload,
  containerConfig,
  createContainer,
  exec,
  openBed,
  pidOf,
  runContainer,
  runPod,
} from './bed.js';
import { awaitLine, readTexts } from './container-log.js';
import { possessions } from './instance.js';

/** What a container can see and reach of the host: nothing that it was not given. */
describe('inside a container', () => {
  let bed: Bed;
  let pod: Pod;
  let shared: Pod;
  let container: Workload;
  let sharing: Workload;
  const sharedPid = {
    linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD }, privileged: true } },
  };
  // Listed by another process: a shell that looks itself has one more.
  const descriptors = 'ls -l /proc/$$/fd; :';

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'own');
    shared = await runPod(bed, 'shared', sharedPid);
    container = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'main', `${descriptors}; echo end; exec sleep 1000`),
    );
    const privileged: ContainerConfig = sharedPid;
    sharing = await runContainer(bed, shared, containerConfig(bed, 'main', 'exec sleep 1000', privileged));
  });
  after(async () => {
    await bed?.end();
  });

  it('init has three descriptors, all of them pipes or /dev/null', async () => {
    await awaitLine(container.log, 'end');
    checkDescriptors(await readTexts(container.log));
  });

  it('so has what is executed in it', async () => {
    const { stdout } = await exec(bed, container.id, descriptors);
    checkDescriptors(stdout.split('\n'));
  });

  it('so has one that was made while others were', async () => {
    const script = `${descriptors}; echo end`;
    const many = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        createContainer(bed, pod, containerConfig(bed, `many-${index}`, script)),
      ),
    );
    await Promise.all(
      many.map(({ id: containerId }) => bed.daemon.client.runtime.startContainer({ containerId })),
    );
    for (const { log } of many) {
      await awaitLine(log, 'end');
      checkDescriptors(await readTexts(log));
    }
  });

  it('no descriptor, directory, root or map of a process leads to the host', async () => {
    for (const { id } of [container, sharing]) {
      const proc = `/proc/${await pidOf(bed, id)}`;
      const links = await Promise.all(
        (await readdir(`${proc}/fd`)).map((fd) => readlink(`${proc}/fd/${fd}`)),
      );
      for (const link of links) expect(link).to.match(/^(\/dev\/null|pipe:\[\d+\])$/);
      expect(await readlink(`${proc}/cwd`)).to.equal('/');
      expect(await readFile(`${proc}/maps`, 'utf8')).not.to.contain('podwright');
    }
  });

  it('the pause process of a shared pid namespace gives nothing away, even to root with all rights', async () => {
    const run = async (script: string) => exec(bed, sharing.id, script);
    expect((await run("tr '\\0' ' ' </proc/1/cmdline")).stdout).to.match(/^podwright-init|^pause/);
    // Its root is a read-only directory with nothing but the pod's /dev/shm, its descriptors lead nowhere.
    const found = (await run('cd /proc/1/root && find .')).stdout.trim().split('\n');
    expect(found).to.deep.equal(['.', './dev', './dev/shm']);
    expect((await run('touch /proc/1/root/x')).exitCode).not.to.equal(0);
    const fds = (await run('for fd in /proc/1/fd/*; do readlink $fd; done')).stdout.trim().split('\n');
    for (const fd of fds)
      expect(fd).to.match(/^$|^\/dev\/null$|^(socket|pipe|anon_inode):|^\/proc\/1\/fd\/\*$/);
    expect((await run('readlink /proc/1/cwd')).stdout).to.match(/^\/?\n?$/);
  });

  it('our own program cannot be written to', async () => {
    const attempts = [
      ': >>/proc/1/exe',
      'exec 3<>/proc/1/exe',
      'cp /bin/busybox /proc/1/exe',
      'dd if=/dev/zero of=/proc/1/exe bs=1 count=1 conv=notrunc',
      'truncate -s 0 /proc/1/exe',
    ];
    for (const attempt of attempts)
      expect((await exec(bed, sharing.id, attempt)).exitCode, attempt).not.to.equal(0);
    const { stdout } = await exec(bed, sharing.id, 'echo still here');
    expect(stdout).to.equal('still here\n');
  });

  it('an exec cannot be caught on its way in', async () => {
    // A process of the container that tries to open every new process while execs come and go.
    const hunter = `while :; do for p in /proc/[0-9]*; do
      [ "$p" = /proc/$$ ] && continue
      case "$(readlink $p/exe)" in *memfd*|*podwright*) echo "exe $p"; echo x 2>/dev/null >>$p/exe && echo WRITTEN;; esac
      for fd in $p/fd/*; do case "$(readlink $fd 2>/dev/null)" in /|/tmp/*|/sys/*|/proc|/run/*) echo "fd $fd";; esac; done
    done; done 2>/dev/null`;
    const hunting = await runContainer(bed, pod, containerConfig(bed, 'hunter', `echo hunting; ${hunter}`));
    await awaitLine(hunting.log, 'hunting');
    for (let round = 0; round < 40; round += 1)
      expect((await exec(bed, hunting.id, ['true'])).exitCode).to.equal(0);
    await bed.daemon.client.runtime.stopContainer({ containerId: hunting.id, timeout: 0n });
    const texts = await readTexts(hunting.log);
    expect(texts.filter((text) => text.startsWith('fd ') || text === 'WRITTEN')).to.deep.equal([]);
  });

  it('nothing of ours listens on an abstract socket', async () => {
    const { box, pods } = await possessions(bed.daemon.instance);
    const inodes = new Set<string>();
    for (const pid of [...box, ...pods]) {
      for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
        const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
        const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
        if (inode !== undefined) inodes.add(inode);
      }
    }
    expect(inodes.size).to.be.greaterThan(0);
    const rows = (await readFile('/proc/net/unix', 'utf8'))
      .trim()
      .split('\n')
      .map((row) => row.split(/\s+/));
    const abstract = rows.filter((row) => row[7]?.startsWith('@') === true && inodes.has(row[6] ?? ''));
    expect(abstract).to.deep.equal([]);
  });

  it('the files of the daemon are out of reach of everybody but root', async () => {
    const { root, state, scratch } = bed.daemon.instance;
    for (const directory of [root, state, path.join(state, 'containers'), path.join(root, 'containers')])
      expect(((await stat(directory)).mode & 0o777).toString(8)).to.equal('700');
    expect(((await stat(path.join(scratch, 'cri.sock'))).mode & 0o777).toString(8)).to.equal('660');
  });
});

/** Lines of `ls -l /proc/PID/fd`. */
function checkDescriptors(lines: readonly string[]): void {
  const links = lines.flatMap((line) => /(\d+) -> (.*)$/.exec(line)?.slice(1).join(' ') ?? []);
  expect(links.map((link) => link.split(' ')[0])).to.deep.equal(['0', '1', '2']);
  expect(links[0]).to.equal('0 /dev/null');
  for (const link of links.slice(1)) expect(link).to.match(/^\d pipe:\[\d+\]$/);
}
