import {
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_RELATIME,
  MOUNT_ATTR_STRICTATIME,
  MOUNT_ATTR__ATIME,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from './kernel.js';

/** Attributes to set and to clear, as mount_setattr(2) takes them. */
export interface AttributeChange {
  readonly set: number;
  readonly clear: number;
}

/** The words of a mount's `options`, sorted by what they act on. OCI runtime-spec config.md#linux-mount-options. */
export interface MountOptions {
  readonly bind: 'no' | 'bind' | 'rbind';
  readonly own: AttributeChange;
  /** For every mount of the tree (the words with a leading r). */
  readonly recursive: AttributeChange;
  readonly propagation: { readonly flag: number; readonly recursive: boolean } | undefined;
  readonly copyUp: boolean;
  readonly idmap: 'no' | 'idmap' | 'ridmap';
  readonly remount: boolean;
  /** Words for the file system itself ("size=64m"). */
  readonly data: readonly string[];
}

const flagPairs: readonly (readonly [on: string, off: string, attribute: number])[] = [
  ['ro', 'rw', MOUNT_ATTR_RDONLY],
  ['nosuid', 'suid', MOUNT_ATTR_NOSUID],
  ['nodev', 'dev', MOUNT_ATTR_NODEV],
  ['noexec', 'exec', MOUNT_ATTR_NOEXEC],
  ['nodiratime', 'diratime', MOUNT_ATTR_NODIRATIME],
  ['nosymfollow', 'symfollow', MOUNT_ATTR_NOSYMFOLLOW],
];

const atimeWords: readonly (readonly [string, number])[] = [
  ['noatime', MOUNT_ATTR_NOATIME],
  ['strictatime', MOUNT_ATTR_STRICTATIME],
  ['relatime', MOUNT_ATTR_RELATIME],
  ['atime', MOUNT_ATTR_RELATIME],
  ['norelatime', MOUNT_ATTR_RELATIME],
  ['nostrictatime', MOUNT_ATTR_RELATIME],
];

/** A word's effect: attributes that it decides, and the values it gives them. */
const attributeWords: ReadonlyMap<string, { readonly mask: number; readonly value: number }> = new Map([
  ...flagPairs.flatMap(([on, off, mask]) => [
    [on, { mask, value: mask }] as const,
    [off, { mask, value: 0 }] as const,
  ]),
  ...atimeWords.map(([word, value]) => [word, { mask: MOUNT_ATTR__ATIME, value }] as const),
]);

const propagationWords: ReadonlyMap<string, number> = new Map([
  ['private', MS_PRIVATE],
  ['slave', MS_SLAVE],
  ['shared', MS_SHARED],
  ['unbindable', MS_UNBINDABLE],
]);

/** Words that change nothing for the kernel behind a new mount. */
const emptyWords: ReadonlySet<string> = new Set(['defaults', 'silent', 'loud']);

export function parseMountOptions(words: readonly string[]): MountOptions {
  const own = { mask: 0, value: 0 };
  const recursive = { mask: 0, value: 0 };
  const data: string[] = [];
  let parsed: Omit<MountOptions, 'own' | 'recursive' | 'data'> = {
    bind: 'no',
    propagation: undefined,
    copyUp: false,
    idmap: 'no',
    remount: false,
  };
  for (const word of words) {
    const bare = word.startsWith('r') ? word.slice(1) : '';
    const flag = propagationWords.get(word) ?? propagationWords.get(bare);
    if (word === 'bind' || word === 'rbind') parsed = { ...parsed, bind: word };
    else if (flag !== undefined)
      parsed = { ...parsed, propagation: { flag, recursive: !propagationWords.has(word) } };
    else if (attributeWords.has(word)) decide(own, word);
    else if (attributeWords.has(bare)) decide(recursive, bare);
    else if (word === 'tmpcopyup') parsed = { ...parsed, copyUp: true };
    else if (word === 'idmap' || word === 'ridmap') parsed = { ...parsed, idmap: word };
    else if (word === 'remount') parsed = { ...parsed, remount: true };
    else if (word !== '' && !emptyWords.has(word)) data.push(word);
  }
  return { ...parsed, own: changeOf(own), recursive: changeOf(recursive), data };
}

/** A later word wins over an earlier one. */
function decide(change: { mask: number; value: number }, word: string): void {
  const effect = attributeWords.get(word);
  if (effect === undefined) return;
  change.value = (change.value & ~effect.mask) | effect.value;
  change.mask |= effect.mask;
}

/** Access time is a field, not a bit: the kernel wants it cleared whole before a value is set. */
function changeOf({ mask, value }: { mask: number; value: number }): AttributeChange {
  return { set: value, clear: (mask & ~value) | (mask & MOUNT_ATTR__ATIME) };
}

export function changesNothing({ set, clear }: AttributeChange): boolean {
  return set === 0 && clear === 0;
}

/** A propagation word alone, as in linux.rootfsPropagation. */
export function parsePropagation(
  word: string,
): { readonly flag: number; readonly recursive: boolean } | undefined {
  return parseMountOptions([word]).propagation;
}
