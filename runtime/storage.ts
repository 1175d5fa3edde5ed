import { readFile } from 'node:fs/promises';
import { readFiles, statFilesystem } from '../native/index.js';

/** The file system of images and writable layers, and what the host calls its block devices. */
export interface StorageFigures {
  readonly filesystem: {
    /** As mounted: /dev/vda1. */
    readonly device: string;
    readonly bytes: bigint;
    readonly inodes: bigint;
    readonly inodesFree: bigint;
  };
  /** "8:0" → /dev/sda. */
  readonly deviceNames: ReadonlyMap<string, string>;
}

/** Reads the figures of the file system that holds a directory; which one that is, is found out at the first call. */
export function storageFigures(directory: string): () => Promise<StorageFigures> {
  let device: Promise<string> | undefined;
  return async () => {
    device ??= readFile('/proc/self/mountinfo', 'utf8').then((text) => deviceOf(text, directory));
    const [diskstats] = await readFiles(['/proc/diskstats']);
    const { blockSize, blocks, files, filesFree } = statFilesystem(directory);
    return {
      filesystem: {
        device: await device,
        bytes: blocks * BigInt(blockSize),
        inodes: files,
        inodesFree: filesFree,
      },
      deviceNames: parseDiskstats(typeof diskstats === 'string' ? diskstats : ''),
    };
  };
}

/** What is mounted where a path lies: the longest mount point above it, and of those the one mounted last. */
export function deviceOf(mountinfo: string, directory: string): string {
  let best = { length: 0, device: '' };
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const mountpoint = (left.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(parseInt(octal, 8)),
    );
    const above = mountpoint === '/' || `${directory}/`.startsWith(`${mountpoint}/`);
    if (mountpoint !== '' && above && mountpoint.length >= best.length)
      best = { length: mountpoint.length, device: right.split(' ')[1] ?? '' };
  }
  return best.device;
}

/** kernel: Documentation/admin-guide/iostats.rst: lines of major, minor, name, counters. */
export function parseDiskstats(text: string): ReadonlyMap<string, string> {
  return new Map(
    [...text.matchAll(/^ *(\d+) +(\d+) (\S+)/gm)].map(([, major = '', minor = '', name = '']) => [
      `${major}:${minor}`,
      `/dev/${name}`,
    ]),
  );
}
