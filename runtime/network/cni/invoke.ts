import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { RuntimeError } from '../../errors.js';
import { callProgram, type ProgramResult } from '../program.js';
import type { NetworkList, PluginConfig } from './config.js';

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC';

/** Parameters of one invocation (CNI spec 1.1, section 2). */
export interface Invocation {
  readonly command: CniCommand;
  readonly list: NetworkList;
  readonly plugin: PluginConfig;
  readonly binDirs: readonly string[];
  readonly containerId?: string | undefined;
  readonly netns?: string | undefined;
  readonly ifname?: string | undefined;
  readonly args?: string | undefined;
  readonly runtimeConfig?: Readonly<Record<string, unknown>> | undefined;
  readonly prevResult?: unknown;
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
}

/** Plugins take seconds when they ask a remote IPAM; the kubelet gives up after four minutes. */
const TIMEOUT_MS = 120_000;

/** CNI spec, section 5: what a plugin prints when it fails. */
const errorOutput = z.object({ code: z.number(), msg: z.string(), details: z.string().optional() });

/**
 * Runs one plugin. Returns its JSON, undefined where it prints none.
 * @throws FailedPrecondition for a missing plugin, Unavailable with the plugin's own words
 */
export async function invoke(call: Invocation, signal: AbortSignal): Promise<unknown> {
  const file = await findPlugin(call.plugin.type, call.binDirs);
  const { code, stdout, stderr } = await callProgram(
    { file, args: [], env: environment(call), input: JSON.stringify(configOf(call)), timeoutMs: TIMEOUT_MS },
    signal,
  );
  const output = parseJson(stdout);
  if (code !== 0) throw failure(call, output, { code, stdout, stderr });
  return output;
}

export async function findPlugin(type: string, binDirs: readonly string[]): Promise<string> {
  for (const directory of binDirs) {
    const file = path.join(directory, type);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  throw new RuntimeError('FailedPrecondition', `CNI plugin "${type}" is not in ${binDirs.join(', ')}`, {
    reason: 'CniPluginMissing',
  });
}

function environment({
  command,
  containerId,
  netns,
  ifname,
  args,
  binDirs,
}: Invocation): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_PATH: binDirs.join(':'),
    ...(containerId === undefined ? {} : { CNI_CONTAINERID: containerId }),
    ...(netns === undefined ? {} : { CNI_NETNS: netns }),
    ...(ifname === undefined ? {} : { CNI_IFNAME: ifname }),
    ...(args === undefined ? {} : { CNI_ARGS: args }),
  };
}

/** The plugin's object completed by name, version, the capabilities it declares and the previous result. */
function configOf({ list, plugin, runtimeConfig, prevResult, extra }: Invocation): Record<string, unknown> {
  const { capabilities, ...rest } = plugin;
  const wanted = Object.entries(runtimeConfig ?? {}).filter(([name]) => capabilities?.[name] === true);
  return {
    ...rest,
    name: list.name,
    cniVersion: list.cniVersion,
    ...(wanted.length === 0 ? {} : { runtimeConfig: Object.fromEntries(wanted) }),
    ...(prevResult === undefined ? {} : { prevResult }),
    ...extra,
  };
}

function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function failure(
  { command, plugin, list }: Invocation,
  output: unknown,
  { code, stdout, stderr }: ProgramResult,
): RuntimeError {
  const op = `CNI ${command} of network ${list.name}, plugin ${plugin.type}`;
  const evidence = { output: [stdout.trim(), stderr.trim()].filter((text) => text !== '').join('\n') };
  const said = errorOutput.safeParse(output);
  if (!said.success)
    return new RuntimeError('Unavailable', op, {
      cause: stderr.trim() === '' ? `status ${code}` : stderr.trim(),
      evidence,
    });
  const { msg, details } = said.data;
  return new RuntimeError('Unavailable', op, {
    cause: details === undefined || details === '' ? msg : `${msg}; ${details}`,
    evidence,
  });
}
