import { expect } from 'chai';
import {
  LinuxContainerSecurityContext,
  SecurityProfile_ProfileType,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { testHost } from '../testing/fixtures.js';
import { checkApparmor, checkSelinux, toGuardedPaths, toSeccompChoice } from './security.js';
import { refusalOf } from '../testing/refusal.js';

describe('security profiles', () => {
  const { RuntimeDefault, Unconfined, Localhost } = SecurityProfile_ProfileType;
  const profile = (profileType: SecurityProfile_ProfileType, localhostRef = '') => ({
    profileType,
    localhostRef,
  });
  const security = (change: Partial<LinuxContainerSecurityContext>) =>
    LinuxContainerSecurityContext.fromPartial(change);

  for (const [name, context, expected] of [
    ['absent', {}, { kind: 'none' }],
    ['default', { seccomp: profile(RuntimeDefault) }, { kind: 'default' }],
    ['unconfined', { seccomp: profile(Unconfined) }, { kind: 'none' }],
    ['of the node', { seccomp: profile(Localhost, '/p/x.json') }, { kind: 'file', path: '/p/x.json' }],
    [
      'of the node, with prefix',
      { seccomp: profile(Localhost, 'localhost//p/x.json') },
      { kind: 'file', path: '/p/x.json' },
    ],
    ['default, old form', { seccompProfilePath: 'runtime/default' }, { kind: 'default' }],
    ['default, older form', { seccompProfilePath: 'docker/default' }, { kind: 'default' }],
    ['unconfined, old form', { seccompProfilePath: 'unconfined' }, { kind: 'none' }],
    ['of the node, old form', { seccompProfilePath: 'localhost//p/x' }, { kind: 'file', path: '/p/x' }],
    [
      'new form over old',
      { seccomp: profile(Unconfined), seccompProfilePath: 'runtime/default' },
      { kind: 'none' },
    ],
    ['privileged', { seccomp: profile(RuntimeDefault), privileged: true }, { kind: 'none' }],
  ] as [string, Partial<LinuxContainerSecurityContext>, object][]) {
    it(`seccomp ${name}`, () => {
      expect(toSeccompChoice(security(context))).to.deep.equal(expected);
    });
  }

  for (const context of [
    { seccomp: profile(Localhost, '') },
    { seccomp: profile(Localhost, 'x.json') },
    { seccomp: profile(Localhost, '/p/../../etc/x') },
    { seccomp: profile(Unconfined, '/p/x') },
    { seccomp: profile(7 as SecurityProfile_ProfileType) },
    { seccompProfilePath: 'nonsense' },
    { seccompProfilePath: 'localhost/relative' },
  ]) {
    it(`seccomp refuses ${JSON.stringify(context)}`, () => {
      expect(refusalOf(() => toSeccompChoice(security(context)))).to.match(
        /^InvalidArgument: config\.linux\.security/,
      );
    });
  }

  for (const [name, context, without, having] of [
    ['absent', {}, 'accepted', 'accepted'],
    ['default', { apparmor: profile(RuntimeDefault) }, 'accepted', 'Unimplemented'],
    ['default, old form', { apparmorProfile: 'runtime/default' }, 'accepted', 'Unimplemented'],
    ['unconfined', { apparmor: profile(Unconfined) }, 'accepted', 'accepted'],
    ['of the node', { apparmor: profile(Localhost, 'x') }, 'FailedPrecondition', 'Unimplemented'],
    ['of the node, old form', { apparmorProfile: 'localhost/x' }, 'FailedPrecondition', 'Unimplemented'],
    ['privileged', { apparmor: profile(RuntimeDefault), privileged: true }, 'accepted', 'accepted'],
    ['nonsense', { apparmorProfile: 'x' }, 'InvalidArgument', 'InvalidArgument'],
    ['nameless', { apparmor: profile(Localhost) }, 'InvalidArgument', 'InvalidArgument'],
  ] as [string, Partial<LinuxContainerSecurityContext>, string, string][]) {
    it(`AppArmor ${name}`, () => {
      const code = (apparmor: boolean) =>
        refusalOf(() => checkApparmor(security(context), { ...testHost, apparmor }));
      expect([code(false).split(':')[0], code(true).split(':')[0]]).to.deep.equal([without, having]);
    });
  }

  it('SELinux labels are refused by name', () => {
    const label = { user: '', role: '', type: 'spc_t', level: '' };
    const none = { user: '', role: '', type: '', level: '' };
    expect(refusalOf(() => checkSelinux('f', label, testHost))).to.match(/^FailedPrecondition: f: SELinux/);
    expect(refusalOf(() => checkSelinux('f', label, { ...testHost, selinux: true }))).to.match(
      /^Unimplemented: f: SELinux/,
    );
    expect(refusalOf(() => checkSelinux('f', none, testHost))).to.equal('accepted');
  });

  it('guarded paths are exactly those asked for, none for a privileged container', () => {
    const context = { maskedPaths: ['/proc/kcore'], readonlyPaths: ['/proc/sys/'] };
    expect(toGuardedPaths(security({}))).to.deep.equal({ maskedPaths: [], readonlyPaths: [] });
    expect(toGuardedPaths(security(context))).to.deep.equal({
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
    });
    expect(toGuardedPaths(security({ ...context, privileged: true })).maskedPaths).to.deep.equal([]);
    expect(refusalOf(() => toGuardedPaths(security({ maskedPaths: ['proc'] })))).to.match(
      /^InvalidArgument.*masked_paths\[0\]/,
    );
  });
});
