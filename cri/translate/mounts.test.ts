import { expect } from 'chai';
import { ImageSpec, Mount, MountPropagation } from '../../protos/gen/cri/runtime/v1/api.js';
import { rootfsPropagation, toImageVolumes, toMounts, toVolumeMounts } from './mounts.js';
import { refusalOf } from '../testing/refusal.js';

describe('mounts', () => {
  const volumes = (...mounts: Partial<Mount>[]) =>
    toVolumeMounts(
      mounts.map((mount) => Mount.fromPartial({ hostPath: '/src', containerPath: '/dst', ...mount })),
    );

  const image = ImageSpec.fromPartial({ image: 'registry/volume:1' });

  it('can be the content of an image', () => {
    const own = volumes({ image, hostPath: '', readonly: true, imageSubPath: 'a/b' });
    expect(own[0]?.image).to.deep.equal({ reference: 'registry/volume:1', subPath: 'a/b' });
    expect(toMounts(own, false).at(-1)).to.deep.equal({
      destination: '/dst',
      type: 'image',
      source: 'registry/volume:1',
      options: ['ro', 'nosuid', 'nodev', 'noexec'],
    });
  });

  it('put ours first and the client’s by depth', () => {
    const own = volumes({ containerPath: '/a/b/c' }, { containerPath: '/a' }, { containerPath: '/a/b' });
    const destinations = toMounts(own, false).map((mount) => mount.destination);
    expect(destinations.slice(0, 6)).to.deep.equal([
      '/proc',
      '/dev',
      '/dev/pts',
      '/dev/mqueue',
      '/sys',
      '/sys/fs/cgroup',
    ]);
    expect(destinations.slice(6)).to.deep.equal(['/a', '/a/b', '/a/b/c']);
  });

  it('give way where the client mounts itself', () => {
    const destinations = (path: string) =>
      toMounts(volumes({ containerPath: path }), false).map((m) => m.destination);
    expect(destinations('/dev')).to.deep.equal(['/proc', '/sys', '/sys/fs/cgroup', '/dev']);
    expect(destinations('/sys/fs/cgroup/')).to.deep.equal([
      '/proc',
      '/dev',
      '/dev/pts',
      '/dev/mqueue',
      '/sys',
      '/sys/fs/cgroup',
    ]);
    expect(destinations('/sys/')).to.deep.equal(['/proc', '/dev', '/dev/pts', '/dev/mqueue', '/sys']);
  });

  it('make /sys and cgroups writable for privileged containers only', () => {
    const options = (privileged: boolean) =>
      toMounts([], privileged)
        .filter((mount) => mount.destination.startsWith('/sys'))
        .map((mount) => mount.options?.at(-1));
    expect(options(false)).to.deep.equal(['ro', 'ro']);
    expect(options(true)).to.deep.equal(['rw', 'rw']);
  });

  for (const [name, mount, options, root] of [
    ['read-write', {}, ['rbind', 'rprivate', 'rw'], 'rprivate'],
    ['read-only', { readonly: true }, ['rbind', 'rprivate', 'ro'], 'rprivate'],
    ['recursive', { readonly: true, recursiveReadOnly: true }, ['rbind', 'rprivate', 'rro'], 'rprivate'],
    [
      'slave',
      { propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER },
      ['rbind', 'rslave', 'rw'],
      'rslave',
    ],
    [
      'shared',
      { propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL },
      ['rbind', 'rshared', 'rw'],
      'rshared',
    ],
    [
      'restricted',
      { mountOptions: ['noexec', 'nodev', 'noexec'] },
      ['rbind', 'rprivate', 'rw', 'noexec', 'nodev'],
      'rprivate',
    ],
  ] as [string, Partial<Mount>, string[], string][]) {
    it(`${name} volume`, () => {
      const own = volumes(mount);
      expect(toMounts(own, false).at(-1)).to.deep.equal({
        destination: '/dst',
        type: 'bind',
        source: '/src',
        options,
      });
      expect(rootfsPropagation(own)).to.equal(root);
    });
  }

  for (const [name, mount, says] of [
    [
      'a relative container path',
      { containerPath: 'x' },
      /^InvalidArgument: config\.mounts\[0\]\.container_path/,
    ],
    ['a container path that climbs', { containerPath: '/a/../../x' }, /^InvalidArgument.*container_path/],
    ['the root', { containerPath: '//' }, /^InvalidArgument.*container_path: must not be the root/],
    ['no host path', { hostPath: '' }, /^InvalidArgument.*host_path: must not be empty/],
    ['a host path with a NUL byte', { hostPath: '/a\0b' }, /^InvalidArgument.*host_path/],
    ['an endless path', { hostPath: `/${'x'.repeat(5000)}` }, /^InvalidArgument.*host_path: must be at most/],
    [
      'an unknown propagation',
      { propagation: 9 as MountPropagation },
      /^InvalidArgument.*propagation: unknown value 9/,
    ],
    ['recursive without read-only', { recursiveReadOnly: true }, /^InvalidArgument.*recursive_read_only/],
    [
      'recursive with propagation',
      { readonly: true, recursiveReadOnly: true, propagation: 1 },
      /^InvalidArgument.*recursive_read_only/,
    ],
    ['an unknown option', { mountOptions: ['suid'] }, /^InvalidArgument.*mount_options\[0\]/],
    [
      'id mappings of users alone',
      { uidMappings: [{ hostId: 1, containerId: 0, length: 1 }] },
      /^InvalidArgument.*gidMappings: must not be empty/,
    ],
    [
      'id mappings that overlap',
      {
        uidMappings: [
          { hostId: 100, containerId: 0, length: 10 },
          { hostId: 200, containerId: 9, length: 10 },
        ],
        gidMappings: [{ hostId: 100, containerId: 0, length: 10 }],
      },
      /^InvalidArgument.*uidMappings\[1\]: overlaps.*uidMappings\[0\]/,
    ],
    [
      'an empty id mapping',
      { uidMappings: [{ hostId: 100, containerId: 0, length: 0 }] },
      /^InvalidArgument.*uidMappings\[0\].length: must not be 0/,
    ],
    ['an image beside a host path', { image, readonly: true }, /^InvalidArgument.*host_path: must be empty/],
    ['a writable image', { image, hostPath: '' }, /^InvalidArgument.*readonly: must be true/],
    [
      'a sub path that climbs',
      { image, hostPath: '', readonly: true, imageSubPath: 'a/../..' },
      /^InvalidArgument.*image_sub_path: must not contain/,
    ],
    [
      'a sub path without an image',
      { imageSubPath: 'a' },
      /^InvalidArgument.*image_sub_path: needs an image/,
    ],
  ] as [string, Partial<Mount>, RegExp][]) {
    it(`refuse ${name}`, () => {
      expect(refusalOf(() => volumes(mount))).to.match(says);
    });
  }

  it('take an image’s volumes that nobody mounts over', () => {
    expect(toImageVolumes(['/data', 'cache/', '/data', '/dst'], volumes({}))).to.deep.equal([
      '/data',
      '/cache',
    ]);
  });

  for (const place of ['/', '/proc', '/proc/sys', '/sys/', '/dev/shm', '/../../etc', '/a\0', '']) {
    it(`refuse the image volume ${JSON.stringify(place)}`, () => {
      expect(refusalOf(() => toImageVolumes([place], []))).to.match(/^InvalidArgument: volume of the image/);
    });
  }
});
