import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { MountPropagation, NamespaceMode } from '../protos/gen/cri/runtime/v1/api.js';
import { strays } from './audit.js';
import {
  type Bed,
  type ContainerConfig,
  type Pod,
  containerConfig,
  createContainer,
  openBed,
  podConfig,
  runPod,
} from './bed.js';
import { mapping, userns, usernsOptions } from './fixtures/user-namespace.js';
import { refusal } from './refusal.js';

const { POD, NODE, CONTAINER } = NamespaceMode;

describe('a user namespace that cannot be', () => {
  let bed: Bed;
  let pod: Pod;

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod', userns());
  });
  after(async () => {
    await bed?.end();
  });

  const refusedPods: readonly (readonly [string, object, RegExp])[] = [
    ['no mapping', { usernsOptions: { mode: POD } }, /uids: must be exactly one mapping, not 0/],
    [
      'two mappings',
      { usernsOptions: { ...usernsOptions, uids: [mapping, mapping] } },
      /uids.*one mapping, not 2/,
    ],
    ['no groups', { usernsOptions: { ...usernsOptions, gids: [] } }, /gids.*one mapping, not 0/],
    [
      'no length',
      { usernsOptions: { ...usernsOptions, uids: [{ ...mapping, length: 0 }] } },
      /length: must not be 0/,
    ],
    [
      'a range beyond all ids',
      { usernsOptions: { ...usernsOptions, uids: [{ ...mapping, length: 0xffff_ffff }] } },
      /host_id: the range ends beyond 32 bits/,
    ],
    [
      'no root',
      { usernsOptions: { ...usernsOptions, uids: [{ ...mapping, containerId: 1 }] } },
      /container_id: must be 0/,
    ],
    [
      'the root of the host',
      { usernsOptions: { ...usernsOptions, gids: [{ ...mapping, hostId: 0 }] } },
      /gids\[0\].host_id: must not be 0/,
    ],
    ['a mode of containers', { usernsOptions: { ...usernsOptions, mode: CONTAINER } }, /must be POD or NODE/],
    ['an unknown mode', { usernsOptions: { ...usernsOptions, mode: 9 } }, /unknown value 9/],
    [
      'maps without it',
      { usernsOptions: { ...usernsOptions, mode: NODE } },
      /mappings need a user namespace/,
    ],
    ['the pids of the host', { pid: NODE }, /pid: cannot be NODE/],
    ['the ipc of the host', { ipc: NODE }, /ipc: cannot be NODE/],
  ];
  for (const [what, options, says] of refusedPods) {
    it(`refuses a pod with ${what}`, async () => {
      const config = podConfig(bed, 'refused', userns(options));
      const { code, details } = await refusal(bed.daemon.client.runtime.runPodSandbox({ config }));
      expect(code, details).to.equal(status.INVALID_ARGUMENT);
      expect(details).to.match(says);
    });
  }

  const other = { ...usernsOptions, uids: [{ ...mapping, hostId: 300_000 }] };
  const volume = { containerPath: '/data', hostPath: '/tmp' };
  const refusedContainers: readonly (readonly [string, ContainerConfig, RegExp])[] = [
    [
      'other maps than its pod',
      { linux: { securityContext: { namespaceOptions: { pid: CONTAINER, usernsOptions: other } } } },
      /same as the sandbox'.*200000/,
    ],
    [
      'the namespace of the host',
      { linux: { securityContext: { namespaceOptions: { pid: CONTAINER, usernsOptions: { mode: NODE } } } } },
      /same as the sandbox'/,
    ],
    [
      'a user who is not mapped',
      { linux: { securityContext: { runAsUser: { value: 65_536n } } } },
      /user 65536: is not mapped/,
    ],
    [
      'a group that is not mapped',
      { linux: { securityContext: { supplementalGroups: [70_000n] } } },
      /group 70000: is not mapped/,
    ],
    [
      'a volume with maps of users alone',
      { mounts: [{ ...volume, uidMappings: [mapping] }] },
      /gidMappings: must not/,
    ],
    [
      'recursive read-only that is not read-only',
      { mounts: [{ ...volume, recursiveReadOnly: true }] },
      /recursive_read_only: needs readonly/,
    ],
    [
      'recursive read-only that is not private',
      {
        mounts: [
          {
            ...volume,
            readonly: true,
            recursiveReadOnly: true,
            propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
          },
        ],
      },
      /recursive_read_only: needs private propagation/,
    ],
  ];
  for (const [what, more, says] of refusedContainers) {
    it(`refuses a container with ${what}`, async () => {
      const { code, details } = await refusal(
        createContainer(bed, pod, containerConfig(bed, 'refused', 'true', more)),
      );
      expect(code, details).to.equal(status.INVALID_ARGUMENT);
      expect(details).to.match(says);
    });
  }

  it('leaves nothing', async () => {
    expect(await strays(bed)).to.deep.equal([]);
  });
});
