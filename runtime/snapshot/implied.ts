import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { closeFd } from '../../native/index.js';
import type { RootAttributes } from './layer-table.js';
import { openReadOnlyTree, type LowerDirectory } from './overlay.js';
import { nameBytes, runUnpacker } from './unpacker.js';

/** Directories of a tree that nothing described, and where their attributes are to be found. */
export interface Implied {
  readonly unpackerPath: string;
  /** Root of the tree. */
  readonly directory: string;
  /** Paths in it, one byte per character; '' is the root. */
  readonly paths: readonly string[];
  /** Whether the root's own entry brought extended attributes. */
  readonly rootHasXattrs: boolean;
  /** The layers below, the top one first, and what the root is there. */
  readonly below: readonly LowerDirectory[];
  readonly rootBelow: RootAttributes | undefined;
  readonly scratchDir: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Gives every implied directory owner, mode, extended attributes and time of the directory that it stands for in the
 * layers below; without that a layer that only brings tmp/x would take the sticky bit from /tmp. What is not there
 * stays root's, 0755. Returns what the root is now.
 */
export async function fixImplied(implied: Implied): Promise<RootAttributes> {
  const { paths, below, rootBelow } = implied;
  const directory = await open(
    implied.directory,
    constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
  );
  try {
    const rootImplied = paths.includes('');
    // Most layers imply nothing but the root, and most roots are plain: that needs no process.
    const needsProcess = paths.length > (rootImplied ? 1 : 0) || (rootImplied && rootBelow?.plain === false);
    if (rootImplied) await setRoot(directory, rootBelow ?? { mode: 0o755, uid: 0, gid: 0, plain: true });
    if (below.length > 0 && needsProcess) await inherit(implied, directory);
    const { mode, uid, gid } = await directory.stat();
    const plain = rootImplied ? (rootBelow?.plain ?? true) : !implied.rootHasXattrs;
    return { mode: mode & 0o7777, uid, gid, plain };
  } finally {
    await directory.close();
  }
}

async function setRoot(directory: FileHandle, { mode, uid, gid }: RootAttributes): Promise<void> {
  await directory.chown(uid, gid);
  await directory.chmod(mode);
}

async function inherit(implied: Implied, directory: FileHandle): Promise<void> {
  const source = await openReadOnlyTree(implied.below, implied.scratchDir);
  try {
    await runUnpacker(
      {
        unpackerPath: implied.unpackerPath,
        arguments: ['inherit'],
        directoryFd: directory.fd,
        sourceFd: source,
        input: chunksOf(implied.paths),
        signal: implied.signal,
      },
      z.object({ ok: z.literal(true) }),
    );
  } finally {
    closeFd(source);
  }
}

const PATHS_PER_CHUNK = 1000;

/** Paths, each ended by a NUL. */
async function* chunksOf(paths: readonly string[]): AsyncIterable<Uint8Array> {
  for (let at = 0; at < paths.length; at += PATHS_PER_CHUNK) {
    yield nameBytes(
      paths
        .slice(at, at + PATHS_PER_CHUNK)
        .map((path) => `${path}\0`)
        .join(''),
    );
    await Promise.resolve();
  }
}
