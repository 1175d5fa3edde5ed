import { z } from 'zod';
import { digestOf, parseDigest, type Digest } from '../base/digest.js';
import { RuntimeError } from '../errors.js';
import { layerLimit } from './limits.js';
import { hostPlatform } from './platform.js';
import { quoted } from './reference.js';
import { describeSchemaError } from './schema-error.js';
import type { ImageConfig } from './types.js';

/** Image configurations (image-spec config.md). Docker's are the same; its tools write null for what is unset. */

/** What ends up in an execve or a file name must not be cut short by a NUL. */
const text = z.string().refine((value) => !value.includes('\0'), 'contains a NUL character');
const texts = z.array(text).nullish();
const keys = z.record(text, z.unknown()).nullish();

const configSchema = z.object({
  architecture: text.nullish(),
  os: text.nullish(),
  variant: text.nullish(),
  created: text.nullish(),
  config: z
    .object({
      User: text.nullish(),
      Env: texts,
      Entrypoint: texts,
      Cmd: texts,
      WorkingDir: text.nullish(),
      Volumes: keys,
      StopSignal: text.nullish(),
      Labels: z.record(text, text).nullish(),
      ExposedPorts: keys,
    })
    .nullish(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(z.string()).max(layerLimit).nullish() }),
});

export interface ParsedConfig {
  readonly config: ImageConfig;
  /** Lowest first. */
  readonly diffIds: readonly Digest[];
}

/** @throws DataLoss naming the field that is wrong, FailedPrecondition for diffIds in an algorithm we do not compute. */
export function parseConfig(content: Uint8Array): ParsedConfig {
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(content.buffer, content.byteOffset, content.length).toString('utf8'));
  } catch {
    throw invalid('it is not JSON');
  }
  const parsed = configSchema.safeParse(document);
  if (!parsed.success) throw invalid(describeSchemaError(parsed.error));
  return { config: configOf(parsed.data), diffIds: (parsed.data.rootfs.diff_ids ?? []).map(diffIdOf) };
}

function configOf(document: z.infer<typeof configSchema>): ImageConfig {
  const { config, variant } = document;
  const host = hostPlatform();
  return {
    os: document.os || host.os,
    architecture: document.architecture || host.architecture,
    ...(variant ? { variant } : {}),
    user: config?.User ?? '',
    env: config?.Env ?? [],
    entrypoint: config?.Entrypoint ?? [],
    cmd: config?.Cmd ?? [],
    workingDir: config?.WorkingDir ?? '',
    volumes: Object.keys(config?.Volumes ?? {}),
    stopSignal: config?.StopSignal ?? '',
    labels: config?.Labels ?? {},
    exposedPorts: Object.keys(config?.ExposedPorts ?? {}),
    created: document.created ?? '',
  };
}

function diffIdOf(value: string): Digest {
  const digest = parseDigest(value);
  if (digest?.startsWith('sha256:') === true) return digest;
  if (digest === undefined) throw invalid(`rootfs.diff_ids holds ${quoted(value)}`);
  throw new RuntimeError('FailedPrecondition', 'read image configuration', {
    cause: `rootfs.diff_ids holds ${quoted(value)}: only sha256 is supported there`,
    reason: 'ManifestUnsupported',
  });
}

function invalid(cause: string): RuntimeError {
  return new RuntimeError('DataLoss', 'read image configuration', { cause, reason: 'ManifestInvalid' });
}

/** The names of a stack of layers, lowest first: each is the digest of its parent's name and its own diffId (image-spec config.md#layer-chainid). */
export function chainIdsOf(diffIds: readonly Digest[]): readonly Digest[] {
  const chainIds: Digest[] = [];
  for (const diffId of diffIds) {
    const parent = chainIds.at(-1);
    chainIds.push(parent === undefined ? diffId : digestOf(`${parent} ${diffId}`));
  }
  return chainIds;
}
