import { readFile } from 'node:fs/promises';

/** The version of this program, from package.json. */
export async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  const document: unknown = JSON.parse(text);
  const version =
    typeof document === 'object' && document !== null && 'version' in document ? document.version : '';
  return String(version);
}
