import type { ContainerConfig } from '../../protos/gen/cri/runtime/v1/api.js';
import type { ImageConfig } from '../../runtime/image/types.js';
import { checkAbsolutePath, checkCount, checkText, quote, refuse } from './check.js';

/** The kernel's own limits are per argument (128 KiB) and in all (a quarter of the stack); these are below both. */
const maxArgumentBytes = 128 * 1024 - 1;
const maxArgumentsBytes = 1024 * 1024;

export type ImageCommand = Pick<ImageConfig, 'entrypoint' | 'cmd' | 'env' | 'workingDir'>;

/**
 * The command line, by Kubernetes' rules: `command` replaces ENTRYPOINT and drops CMD, `args` alone replaces CMD.
 *
 * @throws InvalidArgument if nothing is left to run
 */
export function toArgs(
  config: Pick<ContainerConfig, 'command' | 'args'>,
  image: ImageCommand,
): readonly string[] {
  const { command, args } = config;
  const argv =
    command.length > 0
      ? [...command, ...args]
      : [...image.entrypoint, ...(args.length > 0 ? args : image.cmd)];
  if (argv.length === 0) throw refuse('config.command', 'is empty, and the image names no command either');
  checkArguments('config.command', argv);
  return argv;
}

/** Checks a command line: of a container or an exec. */
export function checkArguments(field: string, argv: readonly string[]): void {
  if (argv[0] === undefined || argv[0] === '') throw refuse(field, 'must not be empty');
  const rules = { maxBytes: maxArgumentBytes, mayBeEmpty: true, mayHaveControls: true };
  argv.forEach((argument, index) => checkText(`${field}[${index}]`, argument, rules));
  checkTotal(field, argv);
}

/**
 * The environment: defaults, then the image's variables, then the request's; a later value replaces an earlier one at
 * its place. HOSTNAME, PATH, TERM (with a terminal) and HOME are there unless somebody set them.
 */
export function toEnv(
  config: Pick<ContainerConfig, 'envs' | 'tty'>,
  image: ImageCommand,
  { hostname, home }: { readonly hostname: string; readonly home: string },
): readonly string[] {
  const env = new Map<string, string>([['HOSTNAME', hostname]]);
  env.set('PATH', '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin');
  if (config.tty) env.set('TERM', 'xterm');
  for (const entry of image.env) {
    const at = entry.indexOf('=');
    // An image's entry without a name or with a NUL byte is no variable: nothing could set it.
    if (at > 0 && !entry.includes('\0')) env.set(entry.slice(0, at), entry.slice(at + 1));
  }
  checkCount('config.envs', config.envs, 10_000);
  for (const [index, { key, value }] of config.envs.entries()) {
    const field = `config.envs[${index}]`;
    checkText(`${field}.key`, key, { mayHaveControls: true });
    if (key.includes('=')) throw refuse(`${field}.key`, `must not contain "=": ${quote(key)}`);
    const text = new TextDecoder('utf-8').decode(value);
    env.set(
      key,
      checkText(`${field}.value`, text, {
        maxBytes: maxArgumentBytes,
        mayBeEmpty: true,
        mayHaveControls: true,
      }),
    );
  }
  if (!env.has('HOME')) env.set('HOME', home);
  const list = [...env].map(([key, value]) => `${key}=${value}`);
  checkTotal('config.envs', list);
  return list;
}

/** The working directory: the request's, else the image's, else "/". */
export function toCwd(config: Pick<ContainerConfig, 'workingDir'>, image: ImageCommand): string {
  if (config.workingDir !== '') return checkAbsolutePath('config.working_dir', config.workingDir);
  if (image.workingDir === '') return '/';
  const absolute = image.workingDir.startsWith('/') ? image.workingDir : `/${image.workingDir}`;
  return checkAbsolutePath('working directory of the image', absolute);
}

function checkTotal(field: string, items: readonly string[]): void {
  const bytes = items.reduce((sum, item) => sum + Buffer.byteLength(item) + 1, 0);
  if (bytes > maxArgumentsBytes)
    throw refuse(field, `must be at most ${maxArgumentsBytes} bytes in all, not ${bytes}`);
}
