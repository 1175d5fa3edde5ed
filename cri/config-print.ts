import { isTree } from './config-file.js';
import type { LoadedConfig } from './config.js';
import { describeOption } from './config-describe.js';
import { configSchema } from './config-schema.js';

type Section = Readonly<Record<string, unknown>>;

/** The effective configuration as TOML, each option with its documentation and where its value comes from. */
export function printConfig({ config, origins }: LoadedConfig): string {
  const print = (section: Section, place: readonly string[]): string[] => {
    const { values, sections } = split(section);
    const options = values.flatMap(([name, value]) => {
      const key = [...place, name];
      const origin = origins.get(key.join('.')) ?? 'default';
      return [`# ${describeOption(key).text} (${origin})`, `${name} = ${JSON.stringify(value)}`];
    });
    const head = place.length === 0 || options.length === 0 ? [] : ['', `[${place.join('.')}]`];
    return [...head, ...options, ...sections.flatMap(([name, inner]) => print(inner, [...place, name]))];
  };
  return `${print(config, []).join('\n')}\n`;
}

/** The reference of all options in Markdown, made from the schema. */
export function printReference(): string {
  const print = (section: Section, place: readonly string[]): string[] => {
    const { values, sections } = split(section);
    const options = values.flatMap(([name, value]) => {
      const key = [...place, name];
      const { text, form } = describeOption(key);
      return [
        '',
        `### \`${key.join('.')}\``,
        '',
        text,
        '',
        `- ${form}`,
        `- default \`${JSON.stringify(value)}\``,
      ];
    });
    const { text: about } = describeOption(place);
    const title = place.length === 0 ? '## Top level' : `## \`[${place.join('.')}]\``;
    const head = ['', title, ...(about === '' ? [] : ['', about])];
    return [...head, ...options, ...sections.flatMap(([name, inner]) => print(inner, [...place, name]))];
  };
  return `${[...introduction, ...print(configSchema.parse({}), [])].join('\n')}\n`;
}

const introduction = [
  '# Configuration reference',
  '',
  'Made from the schema by `podwright config --reference`; `podwright config` prints the values in effect, and for each',
  'whether it is a default, which line of which file says so, or `--set`.',
  '',
  'The file is TOML: `/etc/podwright/config.toml`, or what `--config` names. Over it lie its drop-ins, `conf.d/*.toml` beside',
  'it, in the order of their names, and over those `--set KEY=VALUE`. The later one wins, key by key; a list is one value.',
  'A mistake is refused with its file, line and key.',
  '',
  'SIGHUP has the daemon read everything again. `log.level` and `log.format` change at once; of anything else that has',
  'changed it says that it waits for a restart. `hosts.toml` and certificates of registries, CNI configurations and the',
  'key pair of the streaming server are read anew without any signal.',
];

function split(section: Section) {
  const entries = Object.entries(section);
  return {
    values: entries.filter(([, value]) => !isTree(value)),
    sections: entries.filter((entry): entry is [string, Section] => isTree(entry[1])),
  };
}
