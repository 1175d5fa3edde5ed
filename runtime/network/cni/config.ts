import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { RuntimeError, isErrno, messageOf } from '../../errors.js';

/** A CNI network configuration list (CNI spec 1.1, section 1), as found on disk. */
export interface NetworkList {
  readonly file: string;
  readonly name: string;
  readonly cniVersion: string;
  readonly disableCheck: boolean;
  readonly disableGc: boolean;
  readonly plugins: readonly PluginConfig[];
}

/** One plugin's object: what we read of it, and all the rest, which goes to the plugin untouched. */
export interface PluginConfig {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>> | undefined;
  readonly [key: string]: unknown;
}

const MAX_FILE_BYTES = 1024 * 1024;

/** A type is a file name in the plugin directories, never a path (CVE-2021-20206). */
const plugin = z.looseObject({
  type: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'is no plugin name'),
  capabilities: z.record(z.string(), z.boolean()).optional(),
});

const networkName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'is no network name');
const version = z.string().regex(/^\d+\.\d+\.\d+$/, 'is no version');

const list = z.looseObject({
  name: networkName,
  cniVersion: version.default('0.2.0'),
  cniVersions: z.array(version).optional(),
  disableCheck: z.union([z.boolean(), z.stringbool()]).default(false),
  disableGC: z.union([z.boolean(), z.stringbool()]).default(false),
  plugins: z.array(plugin).min(1),
});

const single = plugin.extend({ name: networkName, cniVersion: version.default('0.2.0') });

/** Versions of the protocol that we speak, oldest first. */
const supportedVersions = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;

/**
 * The first usable list of a directory in lexical order, as every CRI runtime picks it; undefined if there is none.
 * Files that cannot be used are handed to `onBad` and passed over.
 */
export async function loadNetworkList(
  directory: string,
  onBad: (file: string, error: RuntimeError) => void,
): Promise<NetworkList | undefined> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  });
  for (const name of names.filter((entry) => /\.(conflist|conf|json)$/.test(entry)).sort()) {
    const file = path.join(directory, name);
    try {
      return parseNetworkList(file, await readBounded(file));
    } catch (error) {
      onBad(
        file,
        new RuntimeError('InvalidArgument', 'read CNI configuration', {
          subject: file,
          cause: messageOf(error),
        }),
      );
    }
  }
  return undefined;
}

/** @throws what is wrong with it */
export function parseNetworkList(file: string, text: string): NetworkList {
  const json: unknown = JSON.parse(text);
  const isList = typeof json === 'object' && json !== null && 'plugins' in json;
  const parsed = isList ? list.parse(json) : listOf(single.parse(json));
  const cniVersion = chooseVersion(parsed.cniVersions ?? [parsed.cniVersion]);
  return {
    file,
    name: parsed.name,
    cniVersion,
    disableCheck: parsed.disableCheck,
    disableGc: parsed.disableGC,
    plugins: parsed.plugins,
  };
}

function listOf(conf: z.infer<typeof single>): z.infer<typeof list> {
  return {
    name: conf.name,
    cniVersion: conf.cniVersion,
    disableCheck: false,
    disableGC: false,
    plugins: [conf],
  };
}

/** The newest that both sides speak. */
function chooseVersion(offered: readonly string[]): string {
  const common = supportedVersions.filter((known) => offered.includes(known)).at(-1);
  if (common === undefined)
    throw new Error(`cniVersion ${offered.join(', ')} is not supported (${supportedVersions.join(', ')})`);
  return common;
}

async function readBounded(file: string): Promise<string> {
  const text = await readFile(file, 'utf8');
  if (text.length > MAX_FILE_BYTES) throw new Error('file is larger than 1 MiB');
  return text;
}

export function isAtLeast(versionText: string, least: string): boolean {
  const parts = (text: string): number[] => text.split('.').map(Number);
  const [left, right] = [parts(versionText), parts(least)];
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
