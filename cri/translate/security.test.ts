import { expect } from 'chai';
import {
  LinuxContainerSecurityContext,
  SecurityProfile_ProfileType,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { testHost } from '../testing/fixtures.js';
import { checkSelinux, toApparmorChoice, toGuardedPaths, toSeccompChoice } from './security.js';
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

  const none = { kind: 'none' };
  for (const [name, context, without, having] of [
    ['absent', {}, none, { kind: 'default', asked: false }],
    ['default', { apparmor: profile(RuntimeDefault) }, none, { kind: 'default', asked: true }],
    ['default, old form', { apparmorProfile: 'runtime/default' }, none, { kind: 'default', asked: true }],
    ['unconfined', { apparmor: profile(Unconfined) }, none, none],
    ['unconfined, old form', { apparmorProfile: 'unconfined' }, none, none],
    [
      'of the node',
      { apparmor: profile(Localhost, 'x') },
      'FailedPrecondition',
      { kind: 'named', name: 'x' },
    ],
    [
      'of the node, with prefix',
      { apparmor: profile(Localhost, 'localhost/x') },
      'FailedPrecondition',
      { kind: 'named', name: 'x' },
    ],
    [
      'of the node, old form',
      { apparmorProfile: 'localhost/x' },
      'FailedPrecondition',
      { kind: 'named', name: 'x' },
    ],
    ['new form over old', { apparmor: profile(Unconfined), apparmorProfile: 'localhost/x' }, none, none],
    ['privileged', { apparmor: profile(Localhost, 'x'), privileged: true }, none, none],
    ['nonsense', { apparmorProfile: 'x' }, 'InvalidArgument', 'InvalidArgument'],
    ['nameless', { apparmor: profile(Localhost) }, 'InvalidArgument', 'InvalidArgument'],
    ['nameless, old form', { apparmorProfile: 'localhost/' }, 'InvalidArgument', 'InvalidArgument'],
    ['of no kind', { apparmor: profile(9 as never) }, 'InvalidArgument', 'InvalidArgument'],
  ] as [string, Partial<LinuxContainerSecurityContext>, object | string, object | string][]) {
    it(`AppArmor ${name}`, () => {
      const outcome = (apparmor: boolean): object | string => {
        let choice: object | undefined;
        const refusal = refusalOf(
          () => (choice = toApparmorChoice(security(context), { ...testHost, apparmor })),
        );
        return choice ?? refusal.split(':')[0] ?? '';
      };
      expect([outcome(false), outcome(true)]).to.deep.equal([without, having]);
    });
  }

  it('SELinux labels mean nothing where there is no SELinux, and are refused by name where there is', () => {
    const label = { user: '', role: '', type: 'spc_t', level: '' };
    const noLabel = { user: '', role: '', type: '', level: '' };
    expect(refusalOf(() => checkSelinux('f', label, testHost))).to.equal('accepted');
    expect(refusalOf(() => checkSelinux('f', { ...label, level: 's0\0' }, testHost))).to.match(
      /^InvalidArgument: f/,
    );
    expect(refusalOf(() => checkSelinux('f', label, { ...testHost, selinux: true }))).to.match(
      /^Unimplemented: f: SELinux/,
    );
    expect(refusalOf(() => checkSelinux('f', noLabel, testHost))).to.equal('accepted');
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
