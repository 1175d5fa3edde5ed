import { parseArgs } from 'node:util';
import { RuntimeError, messageOf } from '../runtime/errors.js';
import type { ConfigSources } from './config.js';

export type Command =
  | { readonly name: 'serve' | 'config'; readonly sources: ConfigSources }
  | { readonly name: 'reference' }
  | WhyCommand
  | { readonly name: 'version' | 'help' };

export interface WhyCommand {
  readonly name: 'why';
  /** Id, name or reference. */
  readonly object: string;
  readonly json: boolean;
  readonly sources: ConfigSources;
}

export const usage = `podwright: a Kubernetes container runtime

  podwright serve   serve the CRI
  podwright config  print the configuration in effect, with the origin of each value
  podwright why POD|CONTAINER|IMAGE
                    say what went wrong with it: an id or its beginning, a name, NAMESPACE/POD or POD/CONTAINER
  podwright version

Options:
  --config FILE     configuration (default /etc/podwright/config.toml, if it exists)
  --root DIR        images, layers and records
  --state DIR       what dies with the boot
  --socket PATH     socket of the CRI
  --set KEY=VALUE   any option, such as log.level=debug; may be repeated
  --reference       of config: the reference of all options, as Markdown
  --json            of why: all that is known, as JSON
`;

const options = {
  config: { type: 'string' },
  root: { type: 'string' },
  state: { type: 'string' },
  socket: { type: 'string' },
  set: { type: 'string', multiple: true },
  json: { type: 'boolean' },
  reference: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @throws InvalidArgument saying what cannot be understood */
export function parseCommandLine(argv: readonly string[]): Command {
  const { values, positionals } = parse(argv);
  const [name, ...rest] = positionals;
  if (values.help === true || name === 'help') return { name: 'help' };
  const object = name === 'why' ? rest.shift() : undefined;
  if (rest.length > 0) throw mistake(`unexpected argument ${rest[0]}`);
  if (values.json === true && name !== 'why') throw mistake('--json is an option of why');
  if (values.reference === true && name !== 'config') throw mistake('--reference is an option of config');
  switch (name) {
    case 'version':
      return { name };
    case 'config':
      if (values.reference === true) return { name: 'reference' };
      return { name, sources: sourcesOf(values) };
    case 'serve':
      return { name, sources: sourcesOf(values) };
    case 'why':
      if (object === undefined) throw mistake('why needs a pod, a container or an image');
      return { name, object, json: values.json === true, sources: sourcesOf(values) };
    default:
      throw mistake(name === undefined ? 'no command' : `no command ${name}`);
  }
}

function sourcesOf(values: ReturnType<typeof parse>['values']): ConfigSources {
  const directories = (['root', 'state', 'socket'] as const).flatMap((key) => {
    const value = values[key];
    return value === undefined ? [] : [`${key}=${JSON.stringify(value)}`];
  });
  return { file: values.config, settings: [...directories, ...(values.set ?? [])] };
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
