import { z } from 'zod';
import { isDevice, isKind } from './names.js';

/** Versions of the CDI specification, the oldest first. */
const versions = ['0.1.0', '0.2.0', '0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0', '1.1.0'];

const text = z.string().refine((value) => !value.includes('\0'), 'must not contain a NUL byte');
const absolutePath = text.refine(
  (value) => value.startsWith('/') && !value.split('/').includes('..') && value.length <= 4096,
  'must be an absolute path without ".."',
);
const id = z.int().min(0).max(0xffff_fffe);

const deviceNode = z.strictObject({
  path: absolutePath,
  hostPath: absolutePath.optional(),
  type: z.enum(['', 'b', 'c', 'u', 'p']).optional(),
  major: z.int().min(0).max(0xffff_ffff).optional(),
  minor: z.int().min(0).max(0xffff_ffff).optional(),
  fileMode: z.int().min(0).max(0o7777).optional(),
  permissions: z.union([z.string().regex(/^[rwm]{0,3}$/), z.literal('none')]).optional(),
  uid: id.optional(),
  gid: id.optional(),
});

const mount = z.strictObject({
  hostPath: text.min(1),
  containerPath: absolutePath.refine((value) => !/^\/+\.?\/*$/.test(value), 'must not be the root'),
  options: z.array(text).max(100).optional(),
  type: text.optional(),
});

const containerEdits = z.strictObject({
  env: z
    .array(text.regex(/^[^=]+=/, 'must be NAME=VALUE'))
    .max(10_000)
    .optional(),
  deviceNodes: z.array(deviceNode).max(10_000).optional(),
  mounts: z.array(mount).max(2000).optional(),
  additionalGids: z.array(id).max(65_536).optional(),
  hooks: z.array(z.looseObject({ hookName: text })).optional(),
  netDevices: z.array(z.unknown()).optional(),
  intelRdt: z.unknown().optional(),
});

const annotations = z.record(z.string(), z.string()).optional();

const device = z.strictObject({
  name: text.refine(isDevice, 'is no device name'),
  annotations,
  containerEdits,
});

const document = z.strictObject({
  cdiVersion: z.string(),
  kind: text.refine(isKind, 'is not of the form vendor/class'),
  annotations,
  devices: z.array(device).min(1).max(100_000),
  containerEdits: containerEdits.optional(),
});

export type CdiDocument = z.infer<typeof document>;
export type ContainerEdits = z.infer<typeof containerEdits>;
export type DeviceNode = z.infer<typeof deviceNode>;
export type CdiMount = z.infer<typeof mount>;

/** Checks the content of a file. @throws Error with one sentence */
export function parseDocument(content: unknown): CdiDocument {
  const result = document.safeParse(content);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new Error(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is no CDI specification'}`);
  }
  checkVersion(result.data);
  checkNames(result.data);
  return result.data;
}

function checkVersion(spec: CdiDocument): void {
  const version = spec.cdiVersion.replace(/^v/, '');
  if (!versions.includes(version)) throw new Error(`cdiVersion: ${JSON.stringify(version)} is not known`);
  const needed = neededVersion(spec);
  if (versions.indexOf(version) < versions.indexOf(needed))
    throw new Error(`cdiVersion: must be ${needed} at least for what the file uses`);
}

/** The lowest version that has every field of the file: CDI SPEC.md#released-versions. */
function neededVersion({ kind, annotations: notes, devices, containerEdits: own }: CdiDocument): string {
  const edits = [own, ...devices.map((entry) => entry.containerEdits)].filter((each) => each !== undefined);
  const uses = (test: (each: ContainerEdits) => boolean): boolean => edits.some(test);
  const isFilled = (value: object | undefined): boolean =>
    value !== undefined && Object.keys(value).length > 0;
  if (uses(({ netDevices, intelRdt }) => isFilled(netDevices) || usesNewRdt(intelRdt))) return '1.1.0';
  if (uses(({ intelRdt, additionalGids }) => intelRdt !== undefined || isFilled(additionalGids)))
    return '0.7.0';
  if (isFilled(notes) || devices.some((entry) => isFilled(entry.annotations))) return '0.6.0';
  if (kind.split('/')[1]?.includes('.') === true) return '0.6.0';
  if (devices.some(({ name }) => /^\d/.test(name))) return '0.5.0';
  if (uses(({ deviceNodes }) => deviceNodes?.some(({ hostPath }) => hostPath !== undefined) === true))
    return '0.5.0';
  if (uses(({ mounts }) => mounts?.some(({ type }) => type !== undefined && type !== '') === true))
    return '0.4.0';
  return '0.3.0';
}

function usesNewRdt(value: unknown): boolean {
  return typeof value === 'object' && value !== null && ('schemata' in value || 'enableMonitoring' in value);
}

function checkNames({ devices }: CdiDocument): void {
  const names = new Set<string>();
  for (const { name } of devices) {
    if (names.has(name)) throw new Error(`devices: ${name} is there twice`);
    names.add(name);
  }
}
