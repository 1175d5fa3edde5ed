import { expect } from 'chai';
import { toSysctls } from './sysctls.js';
import { refusalOf } from '../testing/refusal.js';

describe('kernel settings', () => {
  const pod = { network: 'pod', ipc: 'pod', pid: 'pod' } as const;
  const defaults = {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': '0 2147483647',
  };

  it('have defaults in a pod network', () => {
    expect(toSysctls({}, { namespaces: pod })).to.deep.equal(defaults);
    expect(toSysctls({}, { namespaces: { ...pod, network: 'host' } })).to.deep.equal({});
  });

  it('let ping the groups that a user namespace maps', () => {
    const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    const userNamespace = { uidMappings: mappings, gidMappings: mappings };
    expect(toSysctls({}, { namespaces: pod, userNamespace })).to.include({
      'net.ipv4.ping_group_range': '0 65535',
    });
  });

  it('take those of the pod’s namespaces', () => {
    const asked = {
      'net/ipv4/ip_unprivileged_port_start': '80',
      'kernel.shmmax': '1',
      'fs.mqueue.msg_max': '2',
    };
    expect(toSysctls(asked, { namespaces: pod })).to.deep.equal({
      ...defaults,
      'net.ipv4.ip_unprivileged_port_start': '80',
      'kernel.shmmax': '1',
      'fs.mqueue.msg_max': '2',
    });
  });

  for (const [name, namespaces, value = '1'] of [
    ['kernel.core_pattern', pod],
    ['vm.swappiness', pod],
    ['kernel.hostname', pod],
    ['net.ipv4.ip_forward', { ...pod, network: 'host' }],
    ['kernel.shmmax', { ...pod, ipc: 'host' }],
    ['fs.mqueue.msg_max', { ...pod, ipc: 'host' }],
    ['net.ipv4/../../kernel/core_pattern', pod],
    ['../kernel/core_pattern', pod],
    ['net', pod],
    ['', pod],
    ['net.x+kernel.core_pattern', pod],
    ['net.ipv4.x=1', pod],
    ['net.ipv4.ip_forward', pod, '1\nkernel.core_pattern=|/x'],
    ['net.ipv4.ip_forward', pod, '1\0'],
    ['kernel.shm_rmid_forced ', pod],
  ] as [string, typeof pod, string?][]) {
    it(`refuse ${JSON.stringify(name)} = ${JSON.stringify(value)}`, () => {
      expect(refusalOf(() => toSysctls({ [name]: value }, { namespaces }))).to.match(
        /^InvalidArgument: config\.linux\.sysctls/,
      );
    });
  }
});
