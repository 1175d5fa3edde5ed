import type { PlanStep, StepKind, StepOf } from './steps.js';

/**
 * The wire layout of every step, row by row as native/helper/plan_format.h lists the payloads: the one table from which
 * wire.ts encodes and decodes. The compiler checks that each field exists and has a wire type that fits it.
 *
 *   u32, i32     numbers                     bool    u32, 0 or 1
 *   u64          a number that fits 2^53     words   u32, index into the list of words
 *   big          u64 from a bigint           slot    u32, absent is PLAN_NO_SLOT
 *   str          absent is empty             umask   u32, absent is PLAN_NO_SLOT
 *   bytes, strs  as they are                 u32s    u32 count, then the numbers
 *   zero         a u32 that nothing uses
 */
export type Wire =
  | 'u32'
  | 'i32'
  | 'u64'
  | 'big'
  | 'bool'
  | 'slot'
  | 'umask'
  | 'str'
  | 'bytes'
  | 'strs'
  | 'u32s'
  | 'zero'
  | { readonly words: readonly string[] };

type WireFor<Value> = [Value] extends [boolean]
  ? 'bool'
  : [Value] extends [bigint]
    ? 'big'
    : [Value] extends [number]
      ? 'u32' | 'i32' | 'u64' | 'slot' | 'umask'
      : [Value] extends [Uint8Array]
        ? 'bytes'
        : [Value] extends [readonly string[]]
          ? 'strs'
          : [Value] extends [readonly number[]]
            ? 'u32s'
            : [Value] extends [string]
              ? 'str' | { readonly words: readonly Value[] }
              : never;

type FieldName<S> = Exclude<keyof S, 'kind' | 'about'>;
type Field<S> =
  | { [Name in FieldName<S>]: readonly [Name, WireFor<NonNullable<S[Name]>>] }[FieldName<S>]
  | readonly ['', 'zero'];

interface LayoutOf<S extends PlanStep> {
  readonly code: number;
  readonly fields: readonly Field<S>[];
  /** The boolean field that is bit 0 of the step's flags. */
  readonly flag?: FieldName<S>;
}

const layouts: { readonly [Kind in StepKind]: LayoutOf<StepOf<Kind>> } = {
  open: {
    code: 1,
    fields: [
      ['out', 'slot'],
      ['dir', 'slot'],
      ['path', 'str'],
      ['flags', 'u64'],
      ['mode', 'u64'],
      ['resolve', 'u64'],
    ],
  },
  write: {
    code: 2,
    fields: [
      ['slot', 'slot'],
      ['data', 'bytes'],
    ],
  },
  close: { code: 3, fields: [['slot', 'slot']] },
  'open-tree': {
    code: 4,
    fields: [
      ['out', 'slot'],
      ['dir', 'slot'],
      ['path', 'str'],
      ['recursive', 'bool'],
    ],
  },
  'open-tree-in': {
    code: 5,
    fields: [
      ['out', 'slot'],
      ['pidfd', 'slot'],
      ['path', 'str'],
    ],
  },
  'fs-mount': {
    code: 6,
    fields: [
      ['out', 'slot'],
      ['type', 'str'],
      ['source', 'str'],
      ['options', 'strs'],
      ['attributes', 'u64'],
    ],
  },
  overlay: {
    code: 7,
    fields: [
      ['out', 'slot'],
      ['layersDir', 'str'],
      ['lower', 'strs'],
      ['upper', 'str'],
      ['work', 'str'],
      ['options', 'strs'],
      ['attributes', 'u64'],
    ],
  },
  'idmapped-overlay': {
    code: 15,
    fields: [
      ['out', 'slot'],
      ['layersDir', 'str'],
      ['lower', 'strs'],
      ['upper', 'str'],
      ['work', 'str'],
      ['options', 'strs'],
      ['attributes', 'u64'],
      ['userNamespace', 'slot'],
    ],
  },
  'mount-setattr': {
    code: 8,
    fields: [
      ['slot', 'slot'],
      ['recursive', 'bool'],
      ['set', 'u64'],
      ['clear', 'u64'],
      ['propagation', 'u64'],
      ['userNamespace', 'slot'],
    ],
  },
  'move-mount': {
    code: 9,
    fields: [
      ['slot', 'slot'],
      ['root', 'slot'],
      ['path', 'str'],
      ['create', { words: ['no', 'directory', 'file', 'same'] }],
    ],
  },
  unmount: {
    code: 10,
    fields: [
      ['root', 'slot'],
      ['path', 'str'],
      ['flags', 'u32'],
    ],
  },
  mkdir: {
    code: 11,
    fields: [
      ['root', 'slot'],
      ['path', 'str'],
      ['mode', 'u32'],
      ['uid', 'u32'],
      ['gid', 'u32'],
    ],
  },
  symlink: {
    code: 12,
    fields: [
      ['root', 'slot'],
      ['path', 'str'],
      ['target', 'str'],
    ],
  },
  'make-device': {
    code: 13,
    fields: [
      ['root', 'slot'],
      ['path', 'str'],
      ['mode', 'u32'],
      ['major', 'u32'],
      ['minor', 'u32'],
      ['uid', 'u32'],
      ['gid', 'u32'],
    ],
  },
  file: {
    code: 14,
    fields: [
      ['root', 'slot'],
      ['path', 'str'],
      ['mode', 'u32'],
      ['uid', 'u32'],
      ['gid', 'u32'],
      ['content', 'bytes'],
    ],
  },
  'sub-tree': {
    code: 16,
    fields: [
      ['slot', 'slot'],
      ['path', 'str'],
    ],
  },
  clone: {
    code: 20,
    fields: [
      ['flags', 'u64'],
      ['cgroup', 'slot'],
    ],
  },
  'id-map': {
    code: 21,
    fields: [
      ['uidMap', 'str'],
      ['gidMap', 'str'],
      ['denySetgroups', 'bool'],
    ],
  },
  sync: { code: 22, fields: [['token', 'u32']] },
  'pin-namespace': {
    code: 23,
    fields: [
      ['name', 'str'],
      ['path', 'str'],
    ],
  },
  'oom-score-adj': { code: 24, fields: [['value', 'i32']] },
  'open-pid': {
    code: 25,
    fields: [
      ['out', 'slot'],
      ['pid', 'u32'],
      ['startTime', 'big'],
    ],
  },
  'user-namespace': {
    code: 26,
    fields: [
      ['out', 'slot'],
      ['uidMap', 'str'],
      ['gidMap', 'str'],
    ],
  },
  'stdio-owner': {
    code: 27,
    fields: [
      ['uid', 'u32'],
      ['gid', 'u32'],
    ],
  },
  chown: {
    code: 28,
    fields: [
      ['path', 'str'],
      ['uid', 'u32'],
      ['gid', 'u32'],
    ],
  },
  unshare: { code: 30, fields: [['flags', 'u64']] },
  join: {
    code: 31,
    fields: [
      ['slot', 'slot'],
      ['flags', 'u64'],
    ],
  },
  'join-pid': { code: 32, fields: [['slot', 'slot']] },
  propagation: {
    code: 33,
    fields: [
      ['path', 'str'],
      ['flags', 'u64'],
    ],
  },
  'pivot-root': {
    code: 34,
    fields: [
      ['slot', 'slot'],
      ['mode', { words: ['pivot', 'move'] }],
    ],
  },
  hostname: { code: 35, fields: [['name', 'str']] },
  domainname: { code: 36, fields: [['name', 'str']] },
  sysctl: {
    code: 37,
    fields: [
      ['key', 'str'],
      ['value', 'str'],
    ],
  },
  mask: {
    code: 38,
    fields: [
      ['root', 'slot'],
      ['path', 'str'],
    ],
  },
  'read-only': {
    code: 39,
    fields: [
      ['root', 'slot'],
      ['path', 'str'],
    ],
  },
  'copy-up': {
    code: 40,
    fields: [
      ['slot', 'slot'],
      ['root', 'slot'],
      ['path', 'str'],
    ],
  },
  'link-veth': {
    code: 50,
    fields: [
      ['name', 'str'],
      ['peer', 'str'],
      ['mac', 'bytes'],
      ['peerMac', 'bytes'],
      ['mtu', 'u32'],
    ],
  },
  'link-bridge': {
    code: 51,
    fields: [
      ['name', 'str'],
      ['mac', 'bytes'],
      ['mtu', 'u32'],
    ],
  },
  'link-set': {
    code: 52,
    fields: [
      ['name', 'str'],
      ['state', { words: ['leave', 'up', 'down'] }],
      ['master', 'str'],
      ['hairpin', 'bool'],
    ],
  },
  'link-delete': { code: 53, fields: [['name', 'str']] },
  address: {
    code: 54,
    fields: [
      ['link', 'str'],
      ['address', 'bytes'],
      ['prefixLength', 'u32'],
    ],
  },
  route: {
    code: 55,
    fields: [
      ['link', 'str'],
      ['destination', 'bytes'],
      ['prefixLength', 'u32'],
      ['gateway', 'bytes'],
    ],
  },
  setsid: { code: 60, fields: [['', 'zero']] },
  keyring: { code: 61, fields: [['name', 'str']] },
  rlimit: {
    code: 62,
    fields: [
      ['resource', 'u32'],
      ['soft', 'big'],
      ['hard', 'big'],
    ],
  },
  'cap-bounding': { code: 63, fields: [['mask', 'big']] },
  user: {
    code: 64,
    fields: [
      ['uid', 'u32'],
      ['gid', 'u32'],
      ['umask', 'umask'],
      ['groups', 'u32s'],
    ],
    flag: 'keepGroups',
  },
  capabilities: {
    code: 65,
    fields: [
      ['effective', 'big'],
      ['permitted', 'big'],
      ['inheritable', 'big'],
      ['ambient', 'big'],
    ],
  },
  'no-new-privs': { code: 66, fields: [] },
  seccomp: {
    code: 67,
    fields: [
      ['flags', 'u32'],
      ['bpf', 'bytes'],
      ['listener', 'slot'],
      ['listenerMetadata', 'bytes'],
    ],
  },
  apparmor: { code: 68, fields: [['profile', 'str']] },
  selinux: { code: 69, fields: [['label', 'str']] },
  chdir: {
    code: 70,
    fields: [
      ['path', 'str'],
      ['create', 'bool'],
    ],
  },
  stdio: {
    code: 71,
    fields: [
      ['uid', 'u32'],
      ['gid', 'u32'],
    ],
  },
  console: {
    code: 72,
    fields: [
      ['columns', 'u32'],
      ['rows', 'u32'],
      ['uid', 'u32'],
      ['gid', 'u32'],
    ],
    flag: 'keepDevConsole',
  },
  'exec-fifo': { code: 73, fields: [] },
  exec: {
    code: 74,
    fields: [
      ['preserve', 'u32'],
      ['argv', 'strs'],
      ['environment', 'strs'],
    ],
  },
  pause: { code: 75, fields: [] },
  'parent-death-signal': { code: 76, fields: [['signal', 'u32']] },
};

/** A layout whose field names are plain strings, for code that walks any step. */
export interface Layout {
  readonly kind: StepKind;
  readonly code: number;
  readonly fields: readonly (readonly [string, Wire])[];
  readonly flag: string | undefined;
}

const entries = Object.entries(layouts).map(([kind, layout]): [string, Layout] => [
  kind,
  { kind: kind as StepKind, code: layout.code, fields: layout.fields, flag: layout.flag },
]);

export const layoutByKind: ReadonlyMap<string, Layout> = new Map(entries);
export const layoutByCode: ReadonlyMap<number, Layout> = new Map(
  entries.map(([, layout]) => [layout.code, layout]),
);

/** The kind behind a number of a failure report; undefined for one we do not know. */
export function kindOfCode(code: number): StepKind | undefined {
  return layoutByCode.get(code)?.kind;
}
