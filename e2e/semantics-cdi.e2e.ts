import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { runToEnd } from './container-log.js';
import { refusal } from './refusal.js';

/** Devices that are asked for by name, described by files of their vendors. */
describe('a CDI device', () => {
  let bed: Bed;
  let pod: Pod;
  let own: string;
  let directories: readonly [string, string];

  before(async () => {
    own = await mkdtemp(path.join(os.tmpdir(), 'pw-e2e-cdi-'));
    directories = [path.join(own, 'etc'), path.join(own, 'run')];
    for (const directory of directories) await mkdir(directory);
    bed = await openBed({ settings: { 'cdi.spec_dirs': JSON.stringify(directories) } });
    const { scratch } = bed.daemon.instance;
    await mkdir(path.join(scratch, 'driver'));
    await writeFile(path.join(scratch, 'driver', 'library'), 'of the driver\n');
    pod = await runPod(bed, 'pod');
  });
  after(async () => {
    await bed?.end();
    await rm(own, { recursive: true });
  });

  const describeDevice = async (file: string, containerEdits: object, kind = 'test.com/null') =>
    writeFile(
      path.join(directories[1], file),
      JSON.stringify({ cdiVersion: '0.7.0', kind, devices: [{ name: '0', containerEdits }] }),
    );
  const asking = (...names: string[]): ContainerConfig => ({ CDIDevices: names.map((name) => ({ name })) });
  const run = async (name: string, script: string, more: ContainerConfig): Promise<readonly string[]> => {
    return (await runToEnd(bed, pod, containerConfig(bed, name, script, more))).texts;
  };

  it('brings its node, files, variables and groups', async () => {
    await describeDevice('null.json', {
      env: ['DEVICE=here'],
      deviceNodes: [{ path: '/dev/nothing', hostPath: '/dev/null', fileMode: 0o640 }],
      mounts: [
        {
          hostPath: path.join(bed.daemon.instance.scratch, 'driver'),
          containerPath: '/usr/lib/driver',
          options: ['ro', 'nosuid', 'nodev', 'rbind'],
        },
      ],
      additionalGids: [4242],
    });
    const script = `echo $DEVICE; cat /usr/lib/driver/library; id -G; stat -c '%t:%T %a' /dev/nothing
      echo gone >/dev/nothing && echo written; touch /usr/lib/driver/x 2>/dev/null || echo read-only`;
    expect(await run('all', script, asking('test.com/null=0'))).to.deep.equal([
      'here',
      'of the driver',
      '0 4242',
      '1:3 640',
      'written',
      'read-only',
    ]);
  });

  it('opens its device to containers that could not use it otherwise', async function () {
    // Harmless to open, and in no container by default.
    const node = await stat('/dev/loop-control').catch(() => undefined);
    if (node === undefined) return void this.skip();
    await describeDevice('loop.json', { deviceNodes: [{ path: '/dev/loop-control' }] }, 'test.com/loop');
    const script = 'exec 3</dev/loop-control && echo opened';
    expect(await run('allowed', script, asking('test.com/loop=0'))).to.deep.equal(['opened']);
    const without = '{ mknod /tmp/x c 10 237; exec 3</tmp/x; } 2>/dev/null && echo opened';
    expect(await run('denied', `${without}; exit 0`, {})).to.deep.equal([]);
  });

  it('is found as soon as it is described, and no longer than that', async () => {
    const config = containerConfig(bed, 'late', 'exec sleep 1000', asking('test.com/late=0'));
    const { code, details } = await refusal(createContainer(bed, pod, config));
    expect(code).to.equal(status.FAILED_PRECONDITION);
    expect(details).to.match(/CDI device test\.com\/late=0: not found in \/\S+\/etc, \/\S+\/run$/);
    await describeDevice('late.json', { env: ['LATE=1'] }, 'test.com/late');
    const container = await runContainer(bed, pod, config);
    await rm(path.join(directories[1], 'late.json'));
    await bed.daemon.restart();
    // What a container was made with it keeps.
    expect((await exec(bed, container.id, 'echo $LATE')).stdout).to.equal('1\n');
    await refusal(createContainer(bed, pod, { ...config, metadata: { name: 'later', attempt: 0 } }));
  });

  it('with hooks is refused by name', async () => {
    const hooks = [{ hookName: 'createContainer', path: '/bin/true' }];
    await describeDevice('hooked.json', { hooks }, 'test.com/hooked');
    const config = containerConfig(bed, 'hooked', 'exit 0', asking('test.com/hooked=0'));
    const { code, details } = await refusal(createContainer(bed, pod, config));
    expect(code).to.equal(status.UNIMPLEMENTED);
    expect(details).to.match(/CDI device test\.com\/hooked=0: hooks \(createContainer\) are not supported$/);
  });

  it('in an annotation is refused where the node does not allow it', async () => {
    const annotations = { 'cdi.k8s.io/plugin_0': 'test.com/null=0' };
    const config = containerConfig(bed, 'annotated', 'exit 0', { annotations });
    const { code, details } = await refusal(createContainer(bed, pod, config));
    expect(code).to.equal(status.INVALID_ARGUMENT);
    expect(details).to.match(/cdi\.k8s\.io\/plugin_0.*cdi_annotations/);
  });
});
