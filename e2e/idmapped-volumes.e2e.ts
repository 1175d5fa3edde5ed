import { access, chown, mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { strays } from './audit.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  exitOf,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { readTexts, runToEnd } from './container-log.js';
import { busyboxLayer, debianBusybox } from './fixtures/busybox-image.js';
import { buildImage, buildLayer } from './fixtures/image-builder.js';
import { mapping, userns } from './fixtures/user-namespace.js';
import { refusal } from './refusal.js';

/** CRI Mount.uidMappings and gidMappings. */
describe('a volume', () => {
  let bed: Bed;
  let pod: Pod;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod', userns());
  });
  after(async () => {
    await bed?.end();
  });

  const output = async (name: string, script: string, more: ContainerConfig = {}, where = pod) => {
    const { exitCode, texts } = await runToEnd(bed, where, containerConfig(bed, name, script, more));
    expect(exitCode, texts.join('\n')).to.equal(0);
    return texts;
  };
  const directory = async (name: string): Promise<string> => {
    const made = path.join(bed.daemon.instance.scratch, name);
    await mkdir(made);
    return made;
  };

  it('keeps its files from a pod with other users', async () => {
    const hostPath = await directory('plain');
    await writeFile(path.join(hostPath, 'secret'), 'secret', { mode: 0o600 });
    const mounts = [{ containerPath: '/data', hostPath }];
    const script = 'stat -c %u /data/secret; cat /data/secret; chown 0 /data/secret; touch /data/new; true';
    expect((await output('plain', script, { mounts }))[0]).to.equal('65534');
    await access(path.join(hostPath, 'new')).then(
      () => expect.fail('it has written'),
      () => undefined,
    );
    expect((await stat(path.join(hostPath, 'secret'))).uid).to.equal(0);
  });

  it('is idmapped: what belongs to an id on disk belongs to it in the pod', async () => {
    const hostPath = await directory('mapped');
    await writeFile(path.join(hostPath, 'of-1000'), '');
    await chown(path.join(hostPath, 'of-1000'), 1000, 1001);
    const volume = { containerPath: '/data', hostPath, uidMappings: [mapping], gidMappings: [mapping] };
    const script = 'stat -c %u:%g /data /data/of-1000; touch /data/new; stat -c %u /data/new; id -u';
    const linux = { securityContext: { runAsUser: { value: 0n } } };
    expect(await output('mapped', script, { mounts: [volume], linux })).to.deep.equal([
      '0:0',
      '1000:1001',
      '0',
      '0',
    ]);
    expect((await stat(path.join(hostPath, 'new'))).uid).to.equal(0);
    const again = [{ ...volume, readonly: true, recursiveReadOnly: true }];
    expect(
      await output('mapped-ro', 'touch /data/x 2>&1 | grep -c Read-only', { mounts: again }),
    ).to.deep.equal(['1']);
    const { status: answer } = await bed.daemon.client.runtime.containerStatus({
      containerId: (
        await createContainer(bed, pod, containerConfig(bed, 'shown', 'true', { mounts: [volume] }))
      ).id,
    });
    expect(answer?.mounts[0]?.uidMappings).to.deep.equal([mapping]);
  });

  it('can be idmapped for a pod that has no user namespace', async () => {
    const hostPath = await directory('shifted');
    const plain = await runPod(bed, 'plain');
    const maps = [{ containerId: 0, hostId: 5000, length: 10 }];
    const volume = { containerPath: '/data', hostPath, uidMappings: maps, gidMappings: maps };
    expect(await output('shifted', 'stat -c %u:%g /data', { mounts: [volume] }, plain)).to.deep.equal([
      '5000:5000',
    ]);
    expect(await output('status', 'stat -c %u /; echo $(cat /proc/self/uid_map)', {}, plain)).to.deep.equal([
      '0',
      '0 0 4294967295',
    ]);
  });

  it('is named if it cannot be idmapped, and nothing is left', async () => {
    const volume = {
      containerPath: '/data',
      hostPath: '/proc/fs',
      uidMappings: [mapping],
      gidMappings: [mapping],
    };
    const config = containerConfig(bed, 'unmapped', 'true', { mounts: [volume] });
    const { code, details } = await refusal(createContainer(bed, pod, config));
    expect(code).to.equal(status.FAILED_PRECONDITION);
    expect(details).to.match(
      /mount \/data \(bind from \/proc\/fs\), idmapped: .*cannot be mounted with other ids/,
    );
    expect(await strays(bed)).to.deep.equal([]);
  });

  it('of an image belongs to its users', async () => {
    const layer = await buildLayer([
      { name: 'data/file', content: 'of the image\n', mode: 0o600, uid: 1000, gid: 1001 },
    ]);
    const layers = [await busyboxLayer(debianBusybox), layer];
    const image = bed.serve('volumes', buildImage({ layers, config: { Volumes: { '/data': {} } } }));
    await bed.daemon.client.image.pullImage({ image: { image } });
    const script = 'stat -c %u:%g /data/file; touch /data/new; cat /data/file';
    const workload = await runContainer(bed, pod, containerConfig({ image }, 'volumes', script));
    expect(await exitOf(bed, workload.id)).to.include({ exitCode: 0 });
    expect(await readTexts(workload.log)).to.deep.equal(['1000:1001', 'of the image']);
    const volumes = path.join(bed.daemon.instance.root, 'containers', workload.id, 'volumes/0');
    expect((await stat(path.join(volumes, 'new'))).uid).to.equal(0);
  });

  it('of another image, and the files of the pod, belong to them too', async () => {
    const layer = await buildLayer([{ name: 'volume/file', content: 'of the image\n', mode: 0o600 }]);
    const content = bed.serve('content', buildImage({ layers: [layer] }));
    await bed.daemon.client.image.pullImage({ image: { image: content } });
    const mounts = [{ containerPath: '/image', image: { image: content }, readonly: true }];
    const script =
      'stat -c %u:%a /image/volume/file && cat /image/volume/file; echo "127.0.0.9 mine" >>/etc/hosts && stat -c %u /etc/hosts';
    expect(await output('image', script, { mounts })).to.deep.equal(['0:600', 'of the image', '0']);
  });
});
