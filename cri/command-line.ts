import { parseArgs } from 'node:util';
import { RuntimeError, messageOf } from '../runtime/errors.js';
import type { ConfigSources } from './config.js';

export type Command =
  | { readonly name: 'serve' | 'config'; readonly sources: ConfigSources }
  | { readonly name: 'version' | 'help' };

export const usage = `podwright: a Kubernetes container runtime

  podwright serve   serve the CRI
  podwright config  print the configuration in effect, with the origin of each value
  podwright version

Options of serve and config:
  --config FILE     configuration (default /etc/podwright/config.toml, if it exists)
  --root DIR        images, layers and records
  --state DIR       what dies with the boot
  --socket PATH     socket of the CRI
  --set KEY=VALUE   any option, such as log.level=debug; may be repeated
`;

const options = {
  config: { type: 'string' },
  root: { type: 'string' },
  state: { type: 'string' },
  socket: { type: 'string' },
  set: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @throws InvalidArgument saying what cannot be understood */
export function parseCommandLine(argv: readonly string[]): Command {
  const { values, positionals } = parse(argv);
  const [name, ...rest] = positionals;
  if (values.help === true || name === 'help') return { name: 'help' };
  if (rest.length > 0) throw mistake(`unexpected argument ${rest[0]}`);
  if (name === 'version') return { name };
  if (name !== 'serve' && name !== 'config')
    throw mistake(name === undefined ? 'no command' : `no command ${name}`);
  const directories = (['root', 'state', 'socket'] as const).flatMap((key) => {
    const value = values[key];
    return value === undefined ? [] : [`${key}=${JSON.stringify(value)}`];
  });
  return { name, sources: { file: values.config, settings: [...directories, ...(values.set ?? [])] } };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true });
  } catch (error) {
    throw mistake(messageOf(error));
  }
}

function mistake(text: string): RuntimeError {
  return new RuntimeError('InvalidArgument', `${text} (podwright help lists what there is)`);
}
