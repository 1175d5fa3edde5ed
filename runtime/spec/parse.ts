import { z } from 'zod';
import { RuntimeError, messageOf } from '../errors.js';
import { type Spec, namespaceTypes } from './types.js';
import { validateSpec } from './validate.js';

/**
 * Reads a config.json that somebody else wrote. Its shape is checked here, its meaning by validate.ts; properties that
 * the specification does not have are ignored, as it demands.
 *
 * @throws InvalidArgument naming the field
 */
export function parseSpec(json: string): Spec {
  const parsed = specSchema.safeParse(withoutNulls(parseJson(json)));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new RuntimeError('InvalidArgument', `config.json: ${fieldOf(issue?.path ?? [])}`, {
      cause: new Error(issue?.message ?? 'is invalid'),
    });
  }
  if (!/^1\.\d+\.\d+/.test(parsed.data.ociVersion)) {
    throw new RuntimeError(
      'InvalidArgument',
      `config.json: ociVersion ${JSON.stringify(parsed.data.ociVersion)} is not 1.x`,
    );
  }
  validateSpec(parsed.data);
  return parsed.data;
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new RuntimeError('InvalidArgument', 'config.json', { cause: new Error(messageOf(error)) });
  }
}

/** Go writes null for an absent list or object. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const present = Object.entries(value).filter(([, entry]) => entry !== null);
  return Object.fromEntries(present.map(([key, entry]) => [key, withoutNulls(entry)]));
}

function fieldOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

const integer = z.number().refine(Number.isInteger, 'expected an integer');
const unsigned = integer.refine((value) => value >= 0, 'expected a number that is not negative');
const texts = z.array(z.string());
const textMap = z.record(z.string(), z.string());

const idMappings = z.array(z.object({ containerID: unsigned, hostID: unsigned, size: unsigned }));

const rlimit = z.object({ type: z.string(), soft: integer, hard: integer });

const processSchema = z.object({
  terminal: z.boolean().optional(),
  consoleSize: z.object({ height: unsigned, width: unsigned }).optional(),
  user: z
    .object({
      uid: unsigned.default(0),
      gid: unsigned.default(0),
      umask: unsigned.optional(),
      additionalGids: z.array(unsigned).optional(),
    })
    .default({ uid: 0, gid: 0 }),
  args: texts,
  commandLine: z.string().optional(),
  env: texts.optional(),
  cwd: z.string(),
  capabilities: z
    .object({
      bounding: texts.optional(),
      effective: texts.optional(),
      inheritable: texts.optional(),
      permitted: texts.optional(),
      ambient: texts.optional(),
    })
    .optional(),
  rlimits: z.array(rlimit).optional(),
  noNewPrivileges: z.boolean().optional(),
  apparmorProfile: z.string().optional(),
  oomScoreAdj: integer.optional(),
  scheduler: z
    .object({
      policy: z.string(),
      nice: integer.optional(),
      priority: integer.optional(),
      flags: texts.optional(),
      runtime: unsigned.optional(),
      deadline: unsigned.optional(),
      period: unsigned.optional(),
    })
    .optional(),
  selinuxLabel: z.string().optional(),
  ioPriority: z.object({ class: z.string(), priority: integer }).optional(),
  execCPUAffinity: z.object({ initial: z.string().optional(), final: z.string().optional() }).optional(),
});

const mountSchema = z.object({
  destination: z.string(),
  type: z.string().optional(),
  source: z.string().optional(),
  options: texts.optional(),
  uidMappings: idMappings.optional(),
  gidMappings: idMappings.optional(),
});

const hooks = z
  .array(
    z.object({
      path: z.string(),
      args: texts.optional(),
      env: texts.optional(),
      timeout: unsigned.optional(),
    }),
  )
  .optional();

const throttle = z.array(z.object({ major: integer, minor: integer, rate: unsigned })).optional();

const resourcesSchema = z.object({
  devices: z
    .array(
      z.object({
        allow: z.boolean(),
        type: z.string().optional(),
        major: integer.optional(),
        minor: integer.optional(),
        access: z.string().optional(),
      }),
    )
    .optional(),
  memory: z
    .object({
      limit: integer.optional(),
      reservation: integer.optional(),
      swap: integer.optional(),
      kernel: integer.optional(),
      kernelTCP: integer.optional(),
      swappiness: unsigned.optional(),
      disableOOMKiller: z.boolean().optional(),
      useHierarchy: z.boolean().optional(),
      checkBeforeUpdate: z.boolean().optional(),
    })
    .optional(),
  cpu: z
    .object({
      shares: unsigned.optional(),
      quota: integer.optional(),
      burst: unsigned.optional(),
      period: unsigned.optional(),
      realtimeRuntime: integer.optional(),
      realtimePeriod: unsigned.optional(),
      cpus: z.string().optional(),
      mems: z.string().optional(),
      idle: integer.optional(),
    })
    .optional(),
  pids: z.object({ limit: integer.optional() }).optional(),
  blockIO: z
    .object({
      weight: unsigned.optional(),
      leafWeight: unsigned.optional(),
      weightDevice: z
        .array(
          z.object({
            major: integer,
            minor: integer,
            weight: unsigned.optional(),
            leafWeight: unsigned.optional(),
          }),
        )
        .optional(),
      throttleReadBpsDevice: throttle,
      throttleWriteBpsDevice: throttle,
      throttleReadIOPSDevice: throttle,
      throttleWriteIOPSDevice: throttle,
    })
    .optional(),
  hugepageLimits: z.array(z.object({ pageSize: z.string(), limit: unsigned })).optional(),
  network: z
    .object({
      classID: unsigned.optional(),
      priorities: z.array(z.object({ name: z.string(), priority: unsigned })).optional(),
    })
    .optional(),
  rdma: z
    .record(z.string(), z.object({ hcaHandles: unsigned.optional(), hcaObjects: unsigned.optional() }))
    .optional(),
  unified: textMap.optional(),
});

/** linux.seccomp alone, and the rules that a localhost profile shares with it. */
const seccompSchema = z.object({
  defaultAction: z.string(),
  defaultErrnoRet: unsigned.optional(),
  architectures: texts.optional(),
  flags: texts.optional(),
  listenerPath: z.string().optional(),
  listenerMetadata: z.string().optional(),
  syscalls: z
    .array(
      z.object({
        names: texts,
        action: z.string(),
        errnoRet: unsigned.optional(),
        args: z
          .array(
            z.object({ index: unsigned, value: unsigned, valueTwo: unsigned.optional(), op: z.string() }),
          )
          .optional(),
      }),
    )
    .optional(),
});

const linuxSchema = z.object({
  uidMappings: idMappings.optional(),
  gidMappings: idMappings.optional(),
  sysctl: textMap.optional(),
  resources: resourcesSchema.optional(),
  cgroupsPath: z.string().optional(),
  namespaces: z.array(z.object({ type: z.enum(namespaceTypes), path: z.string().optional() })).optional(),
  devices: z
    .array(
      z.object({
        path: z.string(),
        type: z.enum(['c', 'u', 'b', 'p']),
        major: integer.optional(),
        minor: integer.optional(),
        fileMode: unsigned.optional(),
        uid: unsigned.optional(),
        gid: unsigned.optional(),
      }),
    )
    .optional(),
  netDevices: z.record(z.string(), z.object({ name: z.string().optional() })).optional(),
  seccomp: seccompSchema.optional(),
  rootfsPropagation: z.string().optional(),
  maskedPaths: texts.optional(),
  readonlyPaths: texts.optional(),
  mountLabel: z.string().optional(),
  intelRdt: z
    .object({
      closID: z.string().optional(),
      schemata: texts.optional(),
      l3CacheSchema: z.string().optional(),
      memBwSchema: z.string().optional(),
      enableCMT: z.boolean().optional(),
      enableMBM: z.boolean().optional(),
      enableMonitoring: z.boolean().optional(),
    })
    .optional(),
  memoryPolicy: z
    .object({ mode: z.string(), nodes: z.string().optional(), flags: texts.optional() })
    .optional(),
  personality: z.object({ domain: z.string(), flags: texts.optional() }).optional(),
  timeOffsets: z
    .record(z.string(), z.object({ secs: integer.optional(), nanosecs: unsigned.optional() }))
    .optional(),
});

const specSchema: z.ZodType<Spec> = z.object({
  ociVersion: z.string(),
  process: processSchema.optional(),
  root: z.object({ path: z.string(), readonly: z.boolean().optional() }).optional(),
  hostname: z.string().optional(),
  domainname: z.string().optional(),
  mounts: z.array(mountSchema).optional(),
  hooks: z
    .object({
      prestart: hooks,
      createRuntime: hooks,
      createContainer: hooks,
      startContainer: hooks,
      poststart: hooks,
      poststop: hooks,
    })
    .optional(),
  annotations: textMap.optional(),
  linux: linuxSchema.optional(),
});
