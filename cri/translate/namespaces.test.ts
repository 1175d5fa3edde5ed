import { expect } from 'chai';
import { NamespaceMode, NamespaceOption } from '../../protos/gen/cri/runtime/v1/api.js';
import { toContainerNamespaces, toSandboxNamespaces } from './namespaces.js';
import { refusalOf } from '../testing/refusal.js';

describe('namespaces', () => {
  const { POD, CONTAINER, NODE, TARGET } = NamespaceMode;
  const mapping = { hostId: 100_000, containerId: 0, length: 65_536 };
  const option = (change: Partial<NamespaceOption>) => NamespaceOption.fromPartial(change);

  it('of a sandbox are the pod’s own by default', () => {
    expect(toSandboxNamespaces(undefined)).to.deep.equal({ network: 'pod', ipc: 'pod', pid: 'pod' });
    expect(toSandboxNamespaces(option({ network: NODE, ipc: NODE, pid: CONTAINER }))).to.deep.equal({
      network: 'host',
      ipc: 'host',
      pid: 'container',
    });
  });

  for (const [name, change, says] of [
    [
      'a network per container',
      { network: CONTAINER },
      /^InvalidArgument.*network: must be POD or NODE, not CONTAINER/,
    ],
    ['an ipc of another', { ipc: TARGET }, /^InvalidArgument.*ipc/],
    ['an unknown mode', { pid: 9 as NamespaceMode }, /^InvalidArgument.*pid: unknown value 9/],
    [
      'a user namespace without maps',
      { usernsOptions: { mode: POD, uids: [], gids: [] } },
      /^InvalidArgument.*exactly one mapping, not 0/,
    ],
    [
      'a user namespace with the pids of the host',
      { pid: NODE, usernsOptions: { mode: POD, uids: [mapping], gids: [mapping] } },
      /^InvalidArgument.*pid: cannot be NODE/,
    ],
    [
      'mappings without one',
      { usernsOptions: { mode: NODE, uids: [{ hostId: 0, containerId: 0, length: 1 }], gids: [] } },
      /^InvalidArgument/,
    ],
  ] as [string, Partial<NamespaceOption>, RegExp][]) {
    it(`of a sandbox refuse ${name}`, () => {
      expect(refusalOf(() => toSandboxNamespaces(option(change)))).to.match(says);
    });
  }

  const pod = { network: 'pod', ipc: 'pod', pid: 'pod' } as const;
  const host = { network: 'host', ipc: 'host', pid: 'host' } as const;
  for (const [name, change, sandbox, privileged, own, ofSandbox] of [
    ['default', undefined, pod, false, ['mount', 'cgroup'], ['network', 'uts', 'ipc', 'pid']],
    ['own pid', { pid: CONTAINER }, pod, false, ['mount', 'pid', 'cgroup'], ['network', 'uts', 'ipc']],
    [
      'own pid by the sandbox',
      undefined,
      { ...pod, pid: 'container' },
      false,
      ['mount', 'pid', 'cgroup'],
      ['network', 'uts', 'ipc'],
    ],
    ['privileged', { pid: CONTAINER }, pod, true, ['mount', 'pid'], ['network', 'uts', 'ipc']],
    ['all of the host', { network: NODE, ipc: NODE, pid: NODE }, host, false, ['mount', 'cgroup'], []],
    ['all of the host by the sandbox', undefined, host, false, ['mount', 'cgroup'], []],
    [
      'own pid beside the host’s',
      { network: NODE, pid: CONTAINER },
      { ...host, ipc: 'pod' },
      false,
      ['mount', 'pid', 'cgroup'],
      ['ipc'],
    ],
  ] as [string, Partial<NamespaceOption> | undefined, typeof pod, boolean, string[], string[]][]) {
    it(`of a container: ${name}`, () => {
      const options = change === undefined ? undefined : option(change);
      const got = toContainerNamespaces(options, sandbox, { privileged, ownCgroupNamespace: true });
      expect([got.own.map(({ type }) => type), got.ofSandbox]).to.deep.equal([own, ofSandbox]);
    });
  }

  it('of a container: the pid namespace of another one', () => {
    const options = option({ pid: TARGET, targetId: 'c1' });
    const got = toContainerNamespaces(options, pod, { privileged: false, ownCgroupNamespace: false });
    expect(got).to.deep.equal({
      own: [{ type: 'mount' }],
      ofSandbox: ['network', 'uts', 'ipc'],
      pidTarget: 'c1',
    });
  });

  for (const [name, change, says] of [
    ['the host’s pid', { pid: NODE }, /^InvalidArgument.*pid/],
    ['the host’s network', { network: NODE }, /^InvalidArgument.*network/],
    ['the host’s ipc', { ipc: NODE }, /^InvalidArgument.*ipc/],
    ['the pid of nobody', { pid: TARGET }, /^InvalidArgument.*target_id/],
  ] as [string, Partial<NamespaceOption>, RegExp][]) {
    it(`of a container refuse ${name} in a pod of its own`, () => {
      const act = () =>
        toContainerNamespaces(option(change), pod, { privileged: true, ownCgroupNamespace: true });
      expect(refusalOf(act)).to.match(says);
    });
  }
});
