import { expect } from 'chai';
import { Capability } from '../../protos/gen/cri/runtime/v1/api.js';
import { capabilityNames } from '../../runtime/spec/capabilities.js';
import { defaultCapabilities, toCapabilities } from './capabilities.js';
import { refusalOf } from '../testing/refusal.js';

describe('capabilities', () => {
  const bounding = (
    change: Partial<Capability>,
    privileged = false,
    available: readonly string[] = capabilityNames,
  ) => toCapabilities(Capability.fromPartial(change), privileged, available).bounding ?? [];

  it('are the fourteen of containerd by default', () => {
    expect(bounding({}))
      .to.have.members([...defaultCapabilities])
      .and.have.length(14);
  });

  for (const [name, change, expected] of [
    [
      'adds',
      { addCapabilities: ['NET_ADMIN', 'cap_sys_time'] },
      [...defaultCapabilities, 'CAP_NET_ADMIN', 'CAP_SYS_TIME'],
    ],
    ['drops', { dropCapabilities: ['CHOWN'] }, defaultCapabilities.filter((cap) => cap !== 'CAP_CHOWN')],
    ['drops after it adds', { addCapabilities: ['BPF'], dropCapabilities: ['BPF'] }, defaultCapabilities],
    ['adds all', { addCapabilities: ['ALL'] }, capabilityNames],
    [
      'adds all but one',
      { addCapabilities: ['all'], dropCapabilities: ['BPF'] },
      capabilityNames.filter((cap) => cap !== 'CAP_BPF'),
    ],
    ['drops all', { dropCapabilities: ['ALL'] }, []],
    ['drops all but one', { dropCapabilities: ['ALL'], addCapabilities: ['KILL'] }, ['CAP_KILL']],
    ['drops all of all', { dropCapabilities: ['ALL'], addCapabilities: ['ALL'] }, []],
  ] as [string, Partial<Capability>, readonly string[]][]) {
    it(name, () => {
      expect(bounding(change)).to.have.members([...expected]);
    });
  }

  it('keep inheritable and ambient empty unless ambient ones are asked for', () => {
    const plain = toCapabilities(
      Capability.fromPartial({ addCapabilities: ['ALL'] }),
      false,
      capabilityNames,
    );
    expect([plain.inheritable, plain.ambient]).to.deep.equal([[], []]);
    const ambient = toCapabilities(
      Capability.fromPartial({ dropCapabilities: ['ALL'], addAmbientCapabilities: ['NET_RAW'] }),
      false,
      capabilityNames,
    );
    for (const set of [ambient.bounding, ambient.permitted, ambient.inheritable, ambient.ambient]) {
      expect(set).to.deep.equal(['CAP_NET_RAW']);
    }
  });

  it('are what the daemon has where all are asked for', () => {
    const available = ['CAP_CHOWN', 'CAP_SYS_ADMIN'];
    expect(bounding({ addCapabilities: ['ALL'] }, false, available)).to.deep.equal(available);
    expect(bounding({}, true, available)).to.deep.equal(available);
    expect(bounding({}, false, available)).to.deep.equal(['CAP_CHOWN']);
    expect(refusalOf(() => bounding({ addCapabilities: ['BPF'] }, false, available))).to.match(
      /^FailedPrecondition/,
    );
  });

  for (const name of ['', 'NOPE', 'CAP_', 'CAP_ALL2', 'NET_ADMIN\0', 'toString', '__proto__']) {
    it(`refuse ${JSON.stringify(name)}`, () => {
      expect(refusalOf(() => bounding({ addCapabilities: [name] }))).to.match(
        /^InvalidArgument: capabilities\.add/,
      );
      expect(refusalOf(() => bounding({ dropCapabilities: [name] }))).to.match(
        /^InvalidArgument: capabilities\.drop/,
      );
    });
  }
});
