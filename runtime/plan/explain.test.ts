import { arch, constants } from 'node:os';
import { expect } from 'chai';
import { type StepFailure, SystemError } from '../errors.js';
import { explainFailure } from './explain.js';
import { layoutByKind } from './layout.js';
import type { Plan, PlanStep } from './steps.js';

const { errno } = constants;

const failureOf = (step: PlanStep, number: number, more: Partial<StepFailure> = {}) => {
  const plan: Plan = { parent: [], child: [{ kind: 'setsid' }, step] };
  const kind = layoutByKind.get(step.kind)?.code;
  return explainFailure(plan, {
    list: 1,
    index: 1,
    kind,
    errno: number,
    syscall: 'call',
    detail: '',
    ...more,
  });
};

const exec = (command: string): PlanStep => ({
  kind: 'exec',
  preserve: 0,
  argv: [command],
  environment: [],
  about: `exec "${command}"`,
});

describe('the explanation of a failed step', () => {
  const cases: readonly (readonly [PlanStep, number, string, string])[] = [
    [exec('foo'), errno.ENOENT, 'exec "foo": executable file not found in $PATH', 'InvalidArgument'],
    [
      exec('/foo'),
      errno.ENOENT,
      'exec "/foo": no such file or directory (the file, or the interpreter it names, is missing)',
      'InvalidArgument',
    ],
    [exec('/foo'), errno.EACCES, 'exec "/foo": permission denied: not executable', 'InvalidArgument'],
    [
      exec('/foo'),
      errno.ENOEXEC,
      `exec "/foo": exec format error: no program for this machine (${arch()}), nor a script with #!`,
      'InvalidArgument',
    ],
    [exec('/foo'), errno.ENOMEM, 'exec "/foo": out of memory (call)', 'ResourceExhausted'],
    [
      {
        kind: 'open-tree',
        out: 20,
        path: '/srv/data',
        recursive: true,
        about: 'mount /data (bind from /srv/data)',
      },
      errno.ENOENT,
      'mount /data (bind from /srv/data): no such file or directory',
      'FailedPrecondition',
    ],
    [
      { kind: 'fs-mount', out: 20, type: 'nofs', options: [], attributes: 0, about: 'mount /x (nofs)' },
      errno.ENODEV,
      'mount /x (nofs): no such device or file system (call)',
      'FailedPrecondition',
    ],
    [
      {
        kind: 'mount-setattr',
        slot: 20,
        recursive: false,
        set: 0,
        clear: 0,
        propagation: 0,
        userNamespace: 21,
        about: 'mount /x (bind from /y), idmapped',
      },
      errno.EINVAL,
      'mount /x (bind from /y), idmapped: the file system cannot be mounted with other ids',
      'FailedPrecondition',
    ],
    [
      { kind: 'clone', flags: 0x10000000, about: 'start the process' },
      errno.ENOSPC,
      'start the process: a limit of user.max_*_namespaces is reached',
      'ResourceExhausted',
    ],
    [
      { kind: 'chdir', path: '/x', create: false, about: 'working directory /x' },
      errno.ENOTDIR,
      'working directory /x: is not a directory',
      'InvalidArgument',
    ],
    [
      { kind: 'clone', flags: 0, about: 'start the process' },
      errno.EAGAIN,
      'start the process: a limit of the kernel was reached, or try again (call)',
      'ResourceExhausted',
    ],
    [
      { kind: 'keyring', name: 'x' },
      errno.ENOSYS,
      'keyring: not supported by this kernel (call)',
      'Unimplemented',
    ],
    [
      { kind: 'sysctl', key: 'a.b', value: '1', about: 'set sysctl a.b' },
      errno.EINVAL,
      'set sysctl a.b: invalid argument (call)',
      'InvalidArgument',
    ],
    [{ kind: 'setsid' }, 4000, 'setsid: error 4000 (E4000) (call)', 'Internal'],
  ];
  for (const [step, number, message, code] of cases) {
    it(message, () => {
      const error = failureOf(step, number);
      expect(error.message).to.equal(message);
      expect(error.code).to.equal(code);
    });
  }

  it('names what the call was about, once', () => {
    const step: PlanStep = { kind: 'mask', root: 16, path: '/proc/x', about: 'mask /proc/x' };
    expect(failureOf(step, errno.EIO, { syscall: 'move_mount', detail: '/proc/x' }).message).to.equal(
      'mask /proc/x: input/output error (move_mount)',
    );
    expect(failureOf(step, errno.EIO, { syscall: 'fsmount', detail: 'tmpfs' }).message).to.equal(
      'mask /proc/x: input/output error (fsmount tmpfs)',
    );
  });

  it('keeps what the kernel said as a cause', () => {
    const { cause } = failureOf(exec('foo'), errno.ENOENT, { syscall: 'execve', detail: 'foo' });
    const system = (cause as Error).cause;
    expect(system).to.be.instanceOf(SystemError);
    expect(system).to.include({ code: 'ENOENT', errno: errno.ENOENT, syscall: 'execve', path: 'foo' });
  });

  it('makes do without the plan, or with another', () => {
    const failure = { list: 1, index: 1, kind: 74, errno: errno.ENOENT, syscall: 'execve', detail: 'foo' };
    expect(explainFailure(undefined, failure).message).to.equal(
      'exec foo: executable file not found in $PATH',
    );
    const other: Plan = { parent: [], child: [] };
    expect(explainFailure(other, failure).message).to.equal('exec foo: executable file not found in $PATH');
    const wrong: Plan = { parent: [], child: [{ kind: 'setsid' }, { kind: 'setsid', about: 'mislead' }] };
    expect(explainFailure(wrong, failure).message).to.equal('exec foo: executable file not found in $PATH');
    const outside = {
      list: undefined,
      index: undefined,
      kind: undefined,
      errno: errno.ENOMEM,
      syscall: 'fork',
      detail: '',
    };
    expect(explainFailure(undefined, outside).message).to.equal('start the process: out of memory (fork)');
    expect(explainFailure(undefined, { ...outside, kind: 9999, errno: errno.EIO }).code).to.equal('Internal');
  });

  it('never answers NotFound: callers would take that for the container', () => {
    for (const kind of layoutByKind.keys())
      for (const number of Object.values(errno)) {
        const failure = {
          list: 1,
          index: 0,
          kind: layoutByKind.get(kind)?.code,
          errno: number,
          syscall: '',
          detail: '',
        };
        expect(explainFailure(undefined, failure).code).to.be.oneOf([
          'InvalidArgument',
          'FailedPrecondition',
          'ResourceExhausted',
          'Unimplemented',
          'Internal',
        ]);
      }
  });
});
