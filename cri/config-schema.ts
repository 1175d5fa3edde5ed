import path from 'node:path';
import { z } from 'zod';
import { pullDefaults } from '../runtime/image/types.js';
import { parseMetricsAddress } from './metrics/address.js';

const absolutePath = z
  .string()
  .refine((text) => path.isAbsolute(text) && !text.includes('\0'), 'must be an absolute path')
  .meta({ title: 'an absolute path' });

const optionalPath = absolutePath.or(z.literal('')).default('');

const seconds = z.int().min(0).max(86_400);

/** The documentation stays that of the option. */
function withDefault<Schema extends z.ZodType>(
  schema: Schema,
  value: z.core.util.NoUndefined<z.output<Schema>>,
): z.ZodDefault<Schema> {
  return schema.default(value).describe(schema.description ?? '');
}

/** How pods of a runtime handler are run. Each option exists once for the default and once per handler. */
const handlerOptions = {
  privileged_without_host_devices: z
    .boolean()
    .describe('Privileged containers get the devices they ask for, not all of the host.'),
  privileged_without_host_devices_all_devices_allowed: z
    .boolean()
    .describe('With the option before: they may use every device all the same, once they have made a node.'),
  unset_seccomp_profile: z
    .enum(['unconfined', 'runtime/default'])
    .describe('System call filter of containers that ask for none; privileged ones have none.'),
  cgroup_writable: z.boolean().describe('Containers may write to their own cgroups.'),
  device_ownership_from_security_context: z
    .boolean()
    .describe("Devices belong to the container's user and group."),
  log_bytes_per_second: z
    .int()
    .min(0)
    .max(2 ** 40)
    .describe(
      'Output that a container may write to its log in a second; what is beyond it is dropped, and a line says how much. 0: any.',
    ),
  cdi_annotations: z
    .boolean()
    .describe('Annotations cdi.k8s.io/… name CDI devices too, not only the field of the CRI.'),
};

const sysctls = z
  .record(z.string(), z.string())
  .describe(
    'Kernel settings (net.*, ipc) of pods that do not set them themselves; refused beside host namespaces.',
  );

const handlerName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, 'must be a DNS label, as RuntimeClass.handler is');

const runtimeSchema = z
  .strictObject({
    default: z
      .strictObject({
        privileged_without_host_devices: withDefault(handlerOptions.privileged_without_host_devices, false),
        privileged_without_host_devices_all_devices_allowed: withDefault(
          handlerOptions.privileged_without_host_devices_all_devices_allowed,
          false,
        ),
        unset_seccomp_profile: withDefault(handlerOptions.unset_seccomp_profile, 'unconfined'),
        cgroup_writable: withDefault(handlerOptions.cgroup_writable, false),
        device_ownership_from_security_context: withDefault(
          handlerOptions.device_ownership_from_security_context,
          false,
        ),
        log_bytes_per_second: withDefault(handlerOptions.log_bytes_per_second, 0),
        cdi_annotations: withDefault(handlerOptions.cdi_annotations, false),
        sysctls: withDefault(sysctls, {}),
      })
      .prefault({}),
    handlers: z
      .record(handlerName, z.strictObject({ ...handlerOptions, sysctls }).partial())
      .default({})
      .describe(
        'Further handlers, by the name that RuntimeClass.handler says; what one leaves out is as in default.',
      ),
  })
  .prefault({});

/**
 * The configuration: one schema that is type, check, default and documentation of every option.
 *
 * The file is TOML, each section a table; an unknown key is an error. `--set section.key=VALUE` takes a TOML value, or
 * plain text where the option is a string.
 */
export const configSchema = z.strictObject({
  version: z.literal(1).default(1).describe('Version of this format.'),
  root: absolutePath
    .default('/var/lib/podwright')
    .describe('Directory of images, layers and records. One daemon per directory.'),
  state: absolutePath
    .default('/run/podwright')
    .describe('Directory of what dies with the boot: sockets, live state, exit records.'),
  socket: absolutePath
    .refine((text) => Buffer.byteLength(text) <= 100, 'must be at most 100 bytes')
    .default('/run/podwright/podwright.sock')
    .describe('Unix socket of the CRI, mode 0660.'),
  drop_in_dir: optionalPath.describe('Directory of drop-ins; empty: conf.d beside this file.'),
  log: z
    .strictObject({
      level: z
        .enum(['error', 'warn', 'info', 'debug'])
        .default('info')
        .describe('Least severe level written.'),
      format: z.enum(['text', 'json']).default('text').describe('Form of a line on standard error.'),
    })
    .prefault({}),
  network: z
    .strictObject({
      conf_dir: absolutePath
        .default('/etc/cni/net.d')
        .describe('CNI configuration; the first file by name counts.'),
      bin_dirs: z
        .array(absolutePath)
        .min(1)
        .default(['/opt/cni/bin', '/usr/lib/cni'])
        .describe('Where CNI plugins are looked for, in this order.'),
      builtin: z
        .boolean()
        .default(false)
        .describe('Use the built-in bridge network where conf_dir holds no configuration.'),
      bridge: z
        .string()
        .regex(/^[a-zA-Z0-9_.-]{0,15}$/, 'must be a network interface name of at most 15 characters')
        .default('')
        .describe('Name of the built-in bridge; empty: pw- and the digits of this instance.'),
      pool: z
        .array(z.string().regex(/^[0-9a-fA-F.:]+\/\d{1,3}$/, 'must be an address range such as 10.88.0.0/16'))
        .min(1)
        .max(2)
        .default(['10.88.0.0/16'])
        .describe(
          'Ranges of the built-in network, one per address family, until the kubelet names the pod range.',
        ),
    })
    .prefault({}),
  registry: z
    .strictObject({
      config_path: z
        .array(absolutePath)
        .default(['/etc/podwright/certs.d', '/etc/containerd/certs.d'])
        .describe('Directories of HOST/hosts.toml: mirrors, certificates, plain http.'),
      plain_http_loopback: z
        .boolean()
        .default(false)
        .describe(
          'Speak plain http at once to registries on loopback addresses that have no hosts.toml; else https first.',
        ),
      parallel_downloads: z
        .int()
        .min(1)
        .max(64)
        .default(pullDefaults.parallelDownloads)
        .describe('Layers of one image fetched at once.'),
      no_progress_timeout_seconds: seconds
        .default(pullDefaults.noProgressTimeoutMs / 1000)
        .describe('A download that brings nothing for this long has failed; 0: never.'),
    })
    .prefault({}),
  image: z
    .strictObject({
      pinned: z
        .array(z.string().min(1))
        .default([])
        .describe("Images that the kubelet's garbage collection must leave alone."),
    })
    .prefault({}),
  cgroup: z
    .strictObject({
      driver: z.literal('cgroupfs').default('cgroupfs').describe('Who manages cgroups.'),
      parent: z
        .string()
        .regex(/^(\/[a-zA-Z0-9_.-]+)+$/, 'must be a path such as /podwright')
        .default('/podwright')
        .describe('Parent of the cgroups of pods that name none.'),
    })
    .prefault({}),
  runtime: runtimeSchema,
  cdi: z
    .strictObject({
      spec_dirs: z
        .array(absolutePath)
        .default(['/etc/cdi', '/var/run/cdi'])
        .describe('Directories of CDI specifications, looked at for each container; a later one overrides.'),
    })
    .prefault({}),
  checkpoint: z
    .strictObject({
      criu: z.string().min(1).default('criu').describe('CRIU: a path, or a name looked up in PATH.'),
    })
    .prefault({}),
  streaming: z
    .strictObject({
      address: z
        .union([z.ipv4(), z.ipv6()])
        .default('127.0.0.1')
        .describe('Address of the server for exec, attach and port-forward: one the kubelet can reach.'),
      port: z.int().min(0).max(65_535).default(0).describe('Its port; 0: any free one.'),
      tls: z
        .enum(['off', 'self-signed', 'files'])
        .default('off')
        .describe(
          'Key pair of its https URLs, TLS 1.2 at least: one made at each start, or that of cert_file and key_file.',
        ),
      cert_file: optionalPath.describe(
        'Certificate, PEM, those that lead to its issuer behind it. Read anew when it changes; sessions go on.',
      ),
      key_file: optionalPath.describe('Its private key, PEM.'),
      idle_timeout_seconds: seconds
        .default(14_400)
        .describe('A session over which nothing was sent for this long is ended; 0: never.'),
    })
    .refine(({ tls, cert_file, key_file }) => tls !== 'files' || (cert_file !== '' && key_file !== ''), {
      path: ['tls'],
      message: "'files' needs cert_file and key_file",
    })
    .prefault({}),
  metrics: z
    .strictObject({
      address: z
        .string()
        .refine(
          (text) => text === '' || parseMetricsAddress(text) !== undefined,
          'must be HOST:PORT, [IPV6]:PORT or unix:/PATH',
        )
        .meta({ title: 'an address' })
        .default('')
        .describe(
          'Where GET /metrics is answered, over plain HTTP to whoever may connect: HOST:PORT or unix:/PATH; empty: nowhere.',
        ),
    })
    .prefault({}),
  limits: z
    .strictObject({
      request_bytes: z
        .int()
        .min(65_536)
        .max(268_435_456)
        .default(16 * 1024 * 1024)
        .describe('Longest request message; longer ones are refused unread.'),
      shutdown_grace_seconds: seconds
        .default(10)
        .describe('How long calls in progress may go on after SIGTERM. Containers run on in any case.'),
    })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;
