import { RuntimeError } from '../errors.js';
import type { DeviceRule } from '../spec/types.js';

/** A rule with every field there. -1 is every number. */
export interface FullDeviceRule {
  readonly allow: boolean;
  readonly type: 'a' | 'b' | 'c';
  readonly major: number;
  readonly minor: number;
  readonly access: string;
}

/**
 * What every container may use whatever its spec says (OCI config-linux.md#default-devices): making any node, and
 * null, zero, full, random, urandom, tty, console, ptmx and its ptys.
 */
const defaultRules: readonly FullDeviceRule[] = [
  { allow: true, type: 'c', major: -1, minor: -1, access: 'm' },
  { allow: true, type: 'b', major: -1, minor: -1, access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 7, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' },
  { allow: true, type: 'c', major: 136, minor: -1, access: 'rwm' },
];

/** The spec's rules and the defaults behind them. No rules at all: every device is allowed, as the kernel starts. */
export function completeDeviceRules(rules: readonly DeviceRule[] | undefined): readonly FullDeviceRule[] {
  if (rules === undefined || rules.length === 0) return [];
  return [...rules.map(completeRule), ...defaultRules];
}

function completeRule(rule: DeviceRule, index: number): FullDeviceRule {
  const type = rule.type === undefined || rule.type === '' ? 'a' : rule.type;
  const access = rule.access === undefined || rule.access === '' ? 'rwm' : rule.access;
  if (type !== 'a' && type !== 'b' && type !== 'c') throw invalid(index, `type "${type}"`);
  if (!/^[rwm]{1,3}$/.test(access)) throw invalid(index, `access "${access}"`);
  const major = rule.major ?? -1;
  const minor = rule.minor ?? -1;
  if (![major, minor].every((number) => Number.isInteger(number) && number >= -1 && number <= 0xffffffff)) {
    throw invalid(index, `numbers ${major}:${minor}`);
  }
  return { allow: rule.allow, type, major, minor, access };
}

function invalid(index: number, what: string): RuntimeError {
  return new RuntimeError('InvalidArgument', `linux.resources.devices[${index}]: bad ${what}`);
}

/** Writes for devices.allow and devices.deny of v1, in order. Rules for type `a` take no numbers there. */
export function deviceWritesV1(
  rules: readonly FullDeviceRule[],
): readonly { readonly file: string; readonly value: string }[] {
  return rules.map((rule) => ({
    file: rule.allow ? 'devices.allow' : 'devices.deny',
    value: printRule(rule),
  }));
}

function printRule({ type, major, minor, access }: FullDeviceRule): string {
  const number = (value: number): string => (value < 0 ? '*' : String(value));
  return type === 'a' ? 'a' : `${type} ${number(major)}:${number(minor)} ${access}`;
}

/** What a list of rules comes to: the default and its exceptions, as the kernel's v1 controller keeps them. */
export interface DevicePolicy {
  readonly allowByDefault: boolean;
  readonly exceptions: readonly {
    readonly type: 'b' | 'c';
    readonly major: number;
    readonly minor: number;
    readonly access: string;
  }[];
}

/** Folds rules in order (kernel: security/device_cgroup.c, as documented in cgroup-v1/devices.rst). */
export function foldDeviceRules(rules: readonly FullDeviceRule[]): DevicePolicy {
  let allowByDefault = true;
  const exceptions = new Map<string, { type: 'b' | 'c'; major: number; minor: number; access: string }>();
  for (const rule of rules) {
    if (rule.type === 'a') {
      allowByDefault = rule.allow;
      exceptions.clear();
      continue;
    }
    const key = `${rule.type} ${rule.major}:${rule.minor}`;
    const old = exceptions.get(key)?.access ?? '';
    const access =
      rule.allow === allowByDefault
        ? [...old].filter((letter) => !rule.access.includes(letter)).join('')
        : [...new Set([...old, ...rule.access])].join('');
    if (access === '') exceptions.delete(key);
    else exceptions.set(key, { type: rule.type, major: rule.major, minor: rule.minor, access });
  }
  return { allowByDefault, exceptions: [...exceptions.values()] };
}
