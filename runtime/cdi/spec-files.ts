import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { isErrno, messageOf } from '../errors.js';
import { type CdiDocument, parseDocument } from './document.js';

const maxFileBytes = 1 << 20;
const maxFiles = 1000;

/** A file of a directory and what is in it, or why it cannot be used. */
export interface SpecFile {
  readonly path: string;
  readonly content: CdiDocument | { readonly error: string };
}

/** The files of the directories, in their order; within one by name. What has not changed is not read again. */
export class SpecFiles {
  private known = new Map<string, { readonly stamp: string; readonly file: SpecFile }>();

  constructor(readonly directories: readonly string[]) {}

  async read(): Promise<readonly (readonly SpecFile[])[]> {
    const seen: typeof this.known = new Map();
    const found: SpecFile[][] = [];
    for (const directory of this.directories) {
      const files: SpecFile[] = [];
      for (const name of await namesIn(directory)) {
        const entry = await this.readFile(path.join(directory, name));
        if (entry === undefined) continue;
        seen.set(entry.file.path, entry);
        files.push(entry.file);
      }
      found.push(files);
    }
    this.known = seen;
    return found;
  }

  private async readFile(
    file: string,
  ): Promise<{ readonly stamp: string; readonly file: SpecFile } | undefined> {
    try {
      // Whatever is in its place, opening must not wait.
      const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      try {
        const { ino, dev, size, mtimeNs, ctimeNs, ...stats } = await handle.stat({ bigint: true });
        const stamp = [dev, ino, size, mtimeNs, ctimeNs].join(' ');
        const known = this.known.get(file);
        if (known?.stamp === stamp) return known;
        if ((stats.mode & BigInt(constants.S_IFMT)) !== BigInt(constants.S_IFREG))
          return { stamp, file: { path: file, content: { error: 'is no regular file' } } };
        if (size > maxFileBytes)
          return { stamp, file: { path: file, content: { error: 'is longer than 1 MiB' } } };
        return { stamp, file: { path: file, content: await parse(file, await handle.readFile('utf8')) } };
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      return { stamp: '', file: { path: file, content: { error: messageOf(error) } } };
    }
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    const names = (await readdir(directory)).filter((name) => /\.(?:json|yaml)$/.test(name));
    return names.sort().slice(0, maxFiles);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function parse(file: string, text: string): Promise<SpecFile['content']> {
  try {
    return parseDocument(file.endsWith('.json') ? JSON.parse(text) : await parseYaml(text));
  } catch (error) {
    return { error: messageOf(error).split('\n')[0] ?? '' };
  }
}

async function parseYaml(text: string): Promise<unknown> {
  const { parse: parseText } = await import('yaml');
  // Few aliases are useful, and many make a small file large.
  return parseText(text, { maxAliasCount: 100, logLevel: 'silent' });
}
