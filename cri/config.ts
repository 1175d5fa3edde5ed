import path from 'node:path';
import { RuntimeError, isErrno } from '../runtime/errors.js';
import {
  type ConfigFile,
  type Tree,
  isTree,
  leaves,
  merge,
  readConfigFile,
  readDropIns,
  setOwn,
} from './config-file.js';
import { isList } from './config-describe.js';
import { type Config, configSchema } from './config-schema.js';

export type { Config };

/** Where the value of an option comes from: `default`, `FILE:LINE` or `--set`. */
export type Origin = string;

export interface LoadedConfig {
  readonly config: Config;
  /** By dotted option name. */
  readonly origins: ReadonlyMap<string, Origin>;
}

export interface ConfigSources {
  /** A missing default file is no error, a missing named one is. */
  readonly file: string | undefined;
  /** `KEY=VALUE`, later ones win. */
  readonly settings: readonly string[];
}

export const defaultConfigFile = '/etc/podwright/config.toml';

type Parse = (toml: string) => unknown;

/** What was read so far, and where from. */
interface Layers {
  readonly tree: Tree;
  readonly origins: Map<string, Origin>;
}

/**
 * Reads the file, lays its drop-ins over it in the order of their names, and the settings over those; checks everything
 * and fills in defaults.
 *
 * @throws InvalidArgument naming file, line and key, or the setting
 */
export async function loadConfig({ file, settings }: ConfigSources): Promise<LoadedConfig> {
  const { parse } = await import('smol-toml');
  const name = file ?? defaultConfigFile;
  const main = await readMainFile(parse, name, file === undefined);
  const own = applySettings(parse, applyFiles(main === undefined ? [] : [main]), settings);
  const { drop_in_dir } = check(own);
  const dropIns = await readDropIns(
    parse,
    drop_in_dir === '' ? path.join(path.dirname(name), 'conf.d') : drop_in_dir,
  );
  const files = main === undefined ? dropIns : [main, ...dropIns];
  const layers = dropIns.length === 0 ? own : applySettings(parse, applyFiles(files), settings);
  const config = check(layers);
  const origins = new Map(leaves(config).map((key) => [key, originOf(layers.origins, key.split('.'))]));
  return { config, origins };
}

async function readMainFile(
  parse: Parse,
  name: string,
  mayBeMissing: boolean,
): Promise<ConfigFile | undefined> {
  try {
    return await readConfigFile(parse, name);
  } catch (error) {
    if (mayBeMissing && isErrno(error, 'ENOENT')) return undefined;
    if (error instanceof RuntimeError) throw error;
    throw new RuntimeError('InvalidArgument', 'read configuration', { cause: error });
  }
}

function applyFiles(files: readonly ConfigFile[]): Layers {
  const origins = new Map<string, Origin>();
  let tree: Tree = {};
  for (const file of files) {
    if (files.indexOf(file) > 0 && 'drop_in_dir' in file.tree) {
      const place = `${file.name}:${file.lineOf(['drop_in_dir'])}`;
      throw new RuntimeError('InvalidArgument', 'configuration', {
        cause: `${place}: drop_in_dir: a drop-in cannot name the directory of drop-ins`,
      });
    }
    tree = merge(tree, file.tree);
    for (const key of placesIn(file.tree)) origins.set(key.join('.'), `${file.name}:${file.lineOf(key)}`);
  }
  return { tree, origins };
}

/** Tables and values: a mistake may be either. */
function placesIn(tree: Tree, prefix: readonly string[] = []): (readonly string[])[] {
  return Object.entries(tree).flatMap(([key, value]) => {
    const place = [...prefix, key];
    return [place, ...(isTree(value) ? placesIn(value, place) : [])];
  });
}

function applySettings(parse: Parse, { tree, origins }: Layers, settings: readonly string[]): Layers {
  const changed = merge({}, tree);
  const known = new Map(origins);
  for (const setting of settings) {
    const { key, value } = parseSetting(parse, setting);
    const parts = key.split('.');
    assign(changed, parts, value, setting);
    for (const [index] of parts.entries()) {
      const place = parts.slice(0, index + 1).join('.');
      if (index === parts.length - 1 || !known.has(place)) known.set(place, '--set');
    }
  }
  return { tree: changed, origins: known };
}

function parseSetting(parse: Parse, setting: string): { readonly key: string; readonly value: unknown } {
  const at = setting.indexOf('=');
  const key = setting.slice(0, at);
  if (at < 1 || !/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(key)) {
    throw new RuntimeError('InvalidArgument', 'option --set', {
      subject: setting,
      cause: 'is not of the form KEY=VALUE',
    });
  }
  return { key, value: settingValue(parse, setting.slice(at + 1), key) };
}

/** A TOML value; else plain text, of which a list option takes the parts between commas. */
function settingValue(parse: Parse, text: string, key: string): unknown {
  try {
    return (parse(`value = ${text}`) as Tree)['value'];
  } catch {
    return isList(key) ? text.split(',') : text;
  }
}

function assign(tree: Tree, key: readonly string[], value: unknown, setting: string): void {
  const [name = '', ...rest] = key;
  if (rest.length === 0) return setOwn(tree, name, value);
  const inner = Object.hasOwn(tree, name) ? tree[name] : undefined;
  if (inner !== undefined && !isTree(inner)) {
    throw new RuntimeError('InvalidArgument', 'option --set', {
      subject: setting,
      cause: `${name} is not a section`,
    });
  }
  const section = inner ?? {};
  setOwn(tree, name, section);
  assign(section, rest, value, setting);
}

function check({ tree, origins }: Layers): Config {
  const result = configSchema.safeParse(tree);
  if (result.success) return result.data;
  const sentences = result.error.issues.map((issue) => {
    const key = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') {
      const unknown = [...key, issue.keys[0] ?? ''];
      return `${originOf(origins, unknown)}: ${unknown.join('.')}: no such option`;
    }
    return `${originOf(origins, key)}: ${key.join('.')}: ${issue.message.replace(/^Invalid input: /, '')}`;
  });
  throw new RuntimeError('InvalidArgument', 'configuration', { cause: sentences.join('; ') });
}

/** Of a value inside a list that of the list; of a section that nobody wrote, none. */
function originOf(origins: ReadonlyMap<string, Origin>, key: readonly string[]): Origin {
  const own = origins.get(key.join('.'));
  if (own !== undefined) return own;
  const above = key.slice(0, -1);
  const isInList = /^\d+$/.test(key.at(-1) ?? '');
  return isInList ? originOf(origins, above) : 'default';
}
