import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  exitOf,
  openBed,
  patienceMs,
  runContainer,
  runPod,
  statusOf,
} from './bed.js';
import { strays } from './audit.js';
import { readTexts, runToEnd } from './container-log.js';
import { eventually } from './eventually.js';
import { type LayerEntry, buildImage, buildLayer } from './fixtures/image-builder.js';
import { refusal } from './refusal.js';

/** CRI Mount.image: the content of an image as a volume. */
describe('an image volume', () => {
  let bed: Bed;
  let pod: Pod;
  let layered: string;
  let single: string;

  const pull = async (name: string, ...layers: (readonly LayerEntry[])[]): Promise<string> => {
    const built = await Promise.all(layers.map(async (entries) => buildLayer(entries)));
    const reference = bed.serve(name, buildImage({ layers: built }));
    await bed.daemon.client.image.pullImage({ image: { image: reference } });
    return reference;
  };
  const volume = (image: string, imageSubPath = '', containerPath = '/volume') => ({
    containerPath,
    readonly: true,
    image: { image },
    imageSubPath,
  });
  const withVolumes = (...mounts: ReturnType<typeof volume>[]): ContainerConfig => ({ mounts });
  const run = async (name: string, script: string, more: ContainerConfig): Promise<readonly string[]> => {
    return (await runToEnd(bed, pod, containerConfig(bed, name, script, more))).texts;
  };

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod');
    layered = await pull(
      'layered',
      [
        { name: 'kept', content: 'below\n' },
        { name: 'replaced', content: 'below\n' },
        { name: 'removed', content: 'below\n' },
        { name: 'dir/', mode: 0o750 },
        { name: 'dir/below', content: 'below\n' },
        { name: 'dir/hidden', content: 'below\n' },
      ],
      [
        { name: 'replaced', content: 'above\n' },
        { name: '.wh.removed' },
        { name: 'dir/above', content: 'above\n' },
        { name: 'dir/.wh.hidden' },
        { name: 'absolute', linkname: '/dir' },
        { name: 'climbing', linkname: '../../../../../../dir' },
        { name: 'outside', linkname: '/etc/passwd' },
        { name: 'loop', linkname: 'loop' },
        { name: 'program', mode: 0o4755, content: '#!/bin/sh\necho executed\n' },
      ],
    );
    single = await pull('single', [
      { name: 'file', content: 'one\n' },
      { name: 'a/b/c/deep', content: 'deep\n' },
    ]);
  });
  after(async () => {
    await bed?.end();
  });

  it('shows the layers of an image as one tree', async () => {
    const script = "cd /volume && printf '%s\\n' * dir/* && cat kept replaced dir/below dir/above";
    const lines = await run('layered', script, withVolumes(volume(layered)));
    expect(lines.slice(0, 10)).to.deep.equal([
      'absolute',
      'climbing',
      'dir',
      'kept',
      'loop',
      'outside',
      'program',
      'replaced',
      'dir/above',
      'dir/below',
    ]);
    expect(lines.slice(-4)).to.deep.equal(['below', 'above', 'below', 'above']);
  });

  it('can be one layer, twice in a container and in several at once', async () => {
    const more = withVolumes(
      volume(single),
      volume(single, 'a/b', '/volume2'),
      volume(layered, '', '/third'),
    );
    const runs = ['one', 'two', 'three'].map(async (name) =>
      run(name, 'cat /volume/file /volume2/c/deep /third/kept', more),
    );
    for (const lines of await Promise.all(runs)) expect(lines).to.deep.equal(['one', 'deep', 'below']);
  });

  it('is read-only, and nothing in it is executed', async () => {
    const script = `touch /volume/new || echo refused
      /volume/program || echo "not executed"
      mount -o remount,rw /volume || echo "stays so"
      grep " /volume " /proc/self/mounts`;
    const lines = await run('read-only', `{ ${script}; } 2>/dev/null`, withVolumes(volume(layered)));
    expect(lines.slice(0, 3)).to.deep.equal(['refused', 'not executed', 'stays so']);
    expect(lines[3]).to.match(/^\S+ \/volume overlay ro,nosuid,nodev,noexec/);
  });

  for (const [subPath, files] of [
    ['dir', ['above', 'below']],
    ['/dir/', ['above', 'below']],
    ['absolute', ['above', 'below']],
    ['climbing', ['above', 'below']],
    ['./dir/.', ['above', 'below']],
  ] as const) {
    it(`can be a part of the image: ${subPath}`, async () => {
      const name = `part-${subPath.replaceAll(/[^a-z]/g, '')}-${subPath.length}`;
      const lines = await run(name, 'ls -a /volume', withVolumes(volume(layered, subPath)));
      expect(lines).to.deep.equal(['.', '..', ...files]);
    });
  }

  it('is told with its digest', async () => {
    const config = containerConfig(bed, 'told', 'exit 0', withVolumes(volume(layered, 'dir')));
    const container = await createContainer(bed, pod, config);
    const { mounts } = await statusOf(bed, container.id);
    expect(mounts).to.have.length(1);
    expect(mounts[0]).to.deep.include({ containerPath: '/volume', hostPath: '', imageSubPath: 'dir' });
    expect(mounts[0]?.image?.image).to.equal(layered);
    expect(mounts[0]?.image?.imageRef).to.match(/\/test\/layered@sha256:[0-9a-f]{64}$/);
  });

  for (const [what, subPath, says] of [
    ['a part that is not there', 'nowhere', /sub path "nowhere" does not exist in the image/],
    ['a part that was removed', 'removed', /sub path "removed" does not exist/],
    ['a file', 'kept', /sub path "kept" is not a directory/],
    ['a link to itself', 'loop', /sub path "loop" does not exist/],
    ['a link to a file of the host', 'outside', /sub path "outside" does not exist/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const config = containerConfig(bed, 'refused', 'exit 0', withVolumes(volume(layered, subPath)));
      const { code, details } = await refusal(createContainer(bed, pod, config));
      // The kubelet takes the word at the beginning for the reason.
      expect(details).to.match(/^ImageVolumeMountFailed: mount \/volume \(image .*layered:1\): /);
      expect(details).to.match(says);
      expect(code).to.equal(status.UNKNOWN);
    });
  }

  it('refuses an image that is not present', async () => {
    const config = containerConfig(
      bed,
      'absent',
      'exit 0',
      withVolumes(volume('docker.io/library/absent:1')),
    );
    const { details } = await refusal(createContainer(bed, pod, config));
    expect(details).to.match(/^ImageVolumeMountFailed: .*: the image is not present$/);
  });

  for (const [what, change, says] of [
    ['a path of the host beside it', { hostPath: '/etc' }, /mounts\[0\]\.host_path: must be empty/],
    ['a writable one', { readonly: false }, /mounts\[0\]\.readonly: must be true/],
    ['a climb', { imageSubPath: 'dir/../..' }, /image_sub_path: must not contain "\.\."/],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const mounts = [{ ...volume(layered), ...change }];
      const { code, details } = await refusal(
        createContainer(bed, pod, containerConfig(bed, 'wrong', 'exit 0', { mounts })),
      );
      expect(details).to.match(says);
      expect(code).to.equal(status.INVALID_ARGUMENT);
    });
  }

  it('works in a shared pid namespace, and over a directory that the image of the container has', async () => {
    const shared = await runPod(bed, 'shared', {
      linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } },
    });
    const more = withVolumes(volume(single, '', '/root'));
    const container = await runContainer(bed, shared, containerConfig(bed, 'over', 'cat /root/file', more));
    await exitOf(bed, container.id);
    expect(await readTexts(container.log)).to.deep.equal(['one']);
  });

  it('keeps its layers while it is used, through a restart and without its image', async () => {
    const reference = await pull(
      'used',
      [{ name: 'x', content: 'used\n' }],
      [{ name: 'y', content: 'too\n' }],
    );
    const layers = async (): Promise<number> =>
      (await readdir(path.join(bed.daemon.instance.root, 'layers'))).length;
    const before = await layers();
    const config = containerConfig(bed, 'using', 'exec sleep 1000', withVolumes(volume(reference)));
    const container = await runContainer(bed, pod, config);
    const waiting = await createContainer(
      bed,
      pod,
      containerConfig(bed, 'later', 'cat /volume/x', withVolumes(volume(reference))),
    );
    await bed.daemon.client.image.removeImage({ image: { image: reference } });
    await bed.daemon.restart();
    expect((await exec(bed, container.id, 'cat /volume/x /volume/y')).stdout).to.equal('used\ntoo\n');
    expect(await layers()).to.equal(before);
    await bed.daemon.client.runtime.startContainer({ containerId: waiting.id });
    await exitOf(bed, waiting.id);
    expect(await readTexts(waiting.log)).to.deep.equal(['used']);
    for (const { id: containerId } of [container, waiting])
      await bed.daemon.client.runtime.removeContainer({ containerId });
    expect(await eventually(layers, (left) => left === before - 2, patienceMs)).to.equal(before - 2);
  });

  it('leaves nothing where the container fails', async () => {
    const config = containerConfig(bed, 'failing', ['/no/such/command'], withVolumes(volume(single)));
    const container = await createContainer(bed, pod, config);
    await refusal(bed.daemon.client.runtime.startContainer({ containerId: container.id }));
    await bed.daemon.client.runtime.removeContainer({ containerId: container.id });
    expect(await strays(bed)).to.deep.equal([]);
  });
});
