import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { cache, repository } from '../places.js';

const run = promisify(execFile);

/** Of the checkout, what the tests need when it is built. */
const parts = ['package.json', 'dist', 'hack', 'e2e'];
const programs = ['podwright-init', 'podwright-unpack', 'podwright.node'];
/** Of the cache. */
const tools = ['bin', 'criu', 'cni', 'image-programs'];
/** Debian's package would start a service in the guest. */
const dockerRegistry = process.env['DOCKER_REGISTRY'] ?? '/usr/bin/docker-registry';
/** Most of node_modules only builds and checks the tree. */
const buildOnly =
  /^(@bufbuild\/buf|@typescript-eslint|@eslint|@babel|@vue|eslint|prettier|typescript|dprint|node-gyp|madge|\.)/;

/**
 * Makes a disk labelled podwright with the built tree, its tools, the script of the guest and the job.
 *
 * @param job for bash, in the tree
 */
export async function makeDisk(file: string, job: string): Promise<void> {
  const staging = `${file}.tree`;
  await rm(staging, { recursive: true, force: true });
  try {
    const tree = path.join(staging, 'tree');
    await copyAll(repository, parts, tree);
    await copyAll(cache, tools, path.join(tree, '.cache'));
    await copyAll(
      path.join(repository, 'native/build/Release'),
      programs,
      path.join(tree, 'native/build/Release'),
    );
    await copyAll(path.join(repository, 'node_modules'), await packages(), path.join(tree, 'node_modules'));
    await copyFile(dockerRegistry, path.join(tree, '.cache/docker-registry'));
    await copyFile(path.join(repository, 'e2e/vm/guest.sh'), path.join(staging, 'guest.sh'));
    await writeFile(path.join(staging, 'job.sh'), job);
    await rm(file, { force: true });
    await run('truncate', ['--size', '2G', file]);
    await run('mkfs.ext4', ['-q', '-F', '-L', 'podwright', '-O', '^has_journal', '-d', staging, file]);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** Paths below node_modules. */
async function packages(): Promise<readonly string[]> {
  const folder = path.join(repository, 'node_modules');
  const names = await readdir(folder);
  const scoped = names
    .filter((name) => name.startsWith('@'))
    .map(async (scope) => (await readdir(path.join(folder, scope))).map((name) => path.join(scope, name)));
  const all = [...names.filter((name) => !name.startsWith('@')), ...(await Promise.all(scoped)).flat()];
  return [...all.filter((name) => !buildOnly.test(name)), '.bin'];
}

/** Links instead of copies where the file system can: nothing of the staging tree is ever written to. */
async function copyAll(from: string, names: readonly string[], to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  const copy = (option: string) => run('cp', ['--archive', '--parents', option, ...names, to], { cwd: from });
  await copy('--link').catch(() => copy('--force'));
}
