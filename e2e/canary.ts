import { createHash } from 'node:crypto';
import { lstat, mkdir, readFile, readdir, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** A little tree of the host that nothing hostile may change. */
export interface Canary {
  readonly directory: string;
  /** Everything about the tree as one text: names, types, modes, owners, times, contents. */
  describe(): Promise<string>;
}

export async function makeCanary(parent: string): Promise<Canary> {
  const directory = path.join(parent, 'canary');
  await mkdir(path.join(directory, 'etc'), { recursive: true });
  await writeFile(path.join(directory, 'secret'), 'root only\n', { mode: 0o600 });
  await writeFile(path.join(directory, 'etc/passwd'), 'canary:x:4242:4242::/canary:/bin/sh\n');
  return { directory, describe: () => describeTree(directory) };
}

async function describeTree(directory: string): Promise<string> {
  const names = (await readdir(directory, { recursive: true })).sort();
  const lines = ['', ...names].map(async (name) => {
    const file = path.join(directory, name);
    const { mode, uid, gid, size, mtimeMs, ctimeMs, nlink } = await lstat(file);
    const kind = mode & 0o170000;
    const content =
      kind === 0o100000 ? await readFile(file) : kind === 0o120000 ? await readlink(file) : Buffer.alloc(0);
    const digest = createHash('sha256').update(content).digest('hex');
    return [name, mode.toString(8), uid, gid, size, mtimeMs, ctimeMs, nlink, digest].join(' ');
  });
  return (await Promise.all(lines)).join('\n');
}
