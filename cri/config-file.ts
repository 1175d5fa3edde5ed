import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { RuntimeError, isErrno, messageOf } from '../runtime/errors.js';

/** A table of TOML, as it was read. */
export type Tree = { [key: string]: unknown };

export interface ConfigFile {
  readonly name: string;
  readonly tree: Tree;
  /** The line that sets a key, or the table it would be in. */
  lineOf(key: readonly string[]): number;
}

type Parse = (toml: string) => unknown;

/** @throws InvalidArgument with file and line; ENOENT if there is no such file */
export async function readConfigFile(parse: Parse, name: string): Promise<ConfigFile> {
  const text = await readFile(name, 'utf8');
  return { name, tree: parseToml(parse, text, name), lineOf: (key) => lineOf(text, key) };
}

/** The `*.toml` of a directory in the order of their names; none if there is no such directory. */
export async function readDropIns(parse: Parse, directory: string): Promise<readonly ConfigFile[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw new RuntimeError('InvalidArgument', 'read configuration', { cause: error });
  });
  const files: ConfigFile[] = [];
  for (const name of names.filter((entry) => entry.endsWith('.toml') && !entry.startsWith('.')).sort()) {
    files.push(await readConfigFile(parse, path.join(directory, name)));
  }
  return files;
}

function parseToml(parse: Parse, text: string, file: string): Tree {
  try {
    return parse(text) as Tree;
  } catch (error) {
    const line = error instanceof Error && 'line' in error ? Number(error.line) : 1;
    const reason = messageOf(error).split('\n')[0]?.replace('Invalid TOML document: ', '') ?? '';
    throw new RuntimeError('InvalidArgument', `configuration ${file}:${line}`, { cause: reason });
  }
}

/** Lays a table over another, key by key; a list is one value. The given ones stay as they are. */
export function merge(below: Tree, above: Tree): Tree {
  const merged: Tree = {};
  for (const [key, value] of [...Object.entries(below), ...Object.entries(above)]) {
    const old = Object.hasOwn(merged, key) ? merged[key] : undefined;
    setOwn(merged, key, isTree(value) ? merge(isTree(old) ? old : {}, value) : value);
  }
  return merged;
}

/** A key named `__proto__` must stay a key, to be refused as unknown. */
export function setOwn(tree: Tree, key: string, value: unknown): void {
  Object.defineProperty(tree, key, { value, enumerable: true, configurable: true, writable: true });
}

/** The dotted names of all values. */
export function leaves(tree: Readonly<Record<string, unknown>>, prefix = ''): string[] {
  return Object.entries(tree).flatMap(([key, value]) =>
    isTree(value) ? leaves(value, `${prefix}${key}.`) : [`${prefix}${key}`],
  );
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The line that sets a key, 1 if it cannot be found: smol-toml keeps no positions. */
function lineOf(text: string, key: readonly string[]): number {
  let section: readonly string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const header = /^\s*\[\[?\s*([^\]]+?)\s*\]/.exec(line);
    if (header?.[1] !== undefined)
      section = header[1].split('.').map((part) => part.trim().replace(/^["']|["']$/g, ''));
    const own = /^\s*["']?([\w.-]+)["']?\s*=/.exec(line);
    const here = own?.[1] === undefined ? section : [...section, ...own[1].split('.')];
    if (here.length > 0 && here.length === key.length && here.every((part, at) => part === key[at]))
      return index + 1;
  }
  return key.length > 1 ? lineOf(text, key.slice(0, -1)) : 1;
}
