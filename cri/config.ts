import { readFile } from 'node:fs/promises';
import { RuntimeError, messageOf } from '../runtime/errors.js';
import { type Config, configSchema, documentation, isList } from './config-schema.js';

export type { Config };

/** Where the value of an option comes from. */
export type Origin = 'default' | `file ${string}` | 'command line';

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

type Tree = { [key: string]: unknown };

/**
 * Reads the file, lays the settings over it, checks everything and fills in defaults.
 *
 * @throws InvalidArgument naming file, line and key, or the setting
 */
export async function loadConfig({ file, settings }: ConfigSources): Promise<LoadedConfig> {
  const { parse } = await import('smol-toml');
  const text = await readConfigFile(file);
  const name = file ?? defaultConfigFile;
  const fromFile = text === undefined ? {} : parseToml(parse, text, name);
  check(fromFile, (issuePath) => `${name}:${lineOf(text ?? '', issuePath)}`);

  const merged = structuredClone(fromFile);
  const origins = new Map<string, Origin>(leaves(fromFile).map((key) => [key, `file ${name}`]));
  for (const setting of settings) {
    const { key, value } = parseSetting(parse, setting);
    assign(merged, key.split('.'), value, setting);
    origins.set(key, 'command line');
  }
  const config = check(merged, () => '--set');
  for (const key of leaves(config)) if (!origins.has(key)) origins.set(key, 'default');
  return { config, origins };
}

/** The effective configuration as TOML, each option with its documentation and where its value comes from. */
export function printConfig({ config, origins }: LoadedConfig): string {
  const top: string[] = [];
  const sections: string[] = [];
  for (const [key, value] of Object.entries(config)) {
    if (!isTree(value)) {
      top.push(...printOption(key, value, documentation([key]), origins.get(key)));
      continue;
    }
    sections.push('', `[${key}]`);
    for (const [name, inner] of Object.entries(value)) {
      sections.push(...printOption(name, inner, documentation([key, name]), origins.get(`${key}.${name}`)));
    }
  }
  return `${[...top, ...sections].join('\n')}\n`;
}

function printOption(name: string, value: unknown, text: string, origin: Origin | undefined): string[] {
  return [`# ${text}${origin === undefined ? '' : ` (${origin})`}`, `${name} = ${JSON.stringify(value)}`];
}

async function readConfigFile(file: string | undefined): Promise<string | undefined> {
  try {
    return await readFile(file ?? defaultConfigFile, 'utf8');
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (missing && file === undefined) return undefined;
    throw new RuntimeError('InvalidArgument', 'read configuration', { cause: error });
  }
}

type Parse = (toml: string) => unknown;

function parseToml(parse: Parse, text: string, file: string): Tree {
  try {
    return parse(text) as Tree;
  } catch (error) {
    const line = error instanceof Error && 'line' in error ? Number(error.line) : 1;
    const reason = messageOf(error).split('\n')[0]?.replace('Invalid TOML document: ', '') ?? '';
    throw new RuntimeError('InvalidArgument', `configuration ${file}:${line}`, { cause: reason });
  }
}

function parseSetting(parse: Parse, setting: string): { readonly key: string; readonly value: unknown } {
  const at = setting.indexOf('=');
  const key = setting.slice(0, at);
  if (at < 1 || !/^[a-z0-9_]+(\.[a-z0-9_]+)*$/.test(key)) {
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
  if (rest.length === 0) {
    tree[name] = value;
    return;
  }
  const inner = Object.hasOwn(tree, name) ? tree[name] : undefined;
  if (inner !== undefined && !isTree(inner)) {
    throw new RuntimeError('InvalidArgument', 'option --set', {
      subject: setting,
      cause: `${name} is not a section`,
    });
  }
  const section = inner ?? {};
  // defineProperty: a key named __proto__ must stay a key, to be refused as unknown.
  Object.defineProperty(tree, name, { value: section, enumerable: true, configurable: true, writable: true });
  assign(section, rest, value, setting);
}

function check(tree: Tree, place: (key: readonly string[]) => string): Config {
  const result = configSchema.safeParse(tree);
  if (result.success) return result.data;
  const sentences = result.error.issues.map((issue) => {
    const key = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') {
      const unknown = [...key, issue.keys[0] ?? ''];
      return `${place(unknown)}: ${unknown.join('.')}: no such option`;
    }
    return `${place(key)}: ${key.join('.')}: ${issue.message.replace(/^Invalid input: /, '')}`;
  });
  throw new RuntimeError('InvalidArgument', 'configuration', { cause: sentences.join('; ') });
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
    if (
      here.length > 0 &&
      key.slice(0, here.length).join('.') === here.join('.') &&
      here.length === key.length
    ) {
      return index + 1;
    }
  }
  return key.length > 1 ? lineOf(text, key.slice(0, -1)) : 1;
}

function leaves(tree: Readonly<Record<string, unknown>>, prefix = ''): string[] {
  return Object.entries(tree).flatMap(([key, value]) =>
    isTree(value) ? leaves(value, `${prefix}${key}.`) : [`${prefix}${key}`],
  );
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
