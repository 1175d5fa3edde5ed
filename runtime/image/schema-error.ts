import type { z } from 'zod';

/** The first problems of a failed check in one line: `config.Env[0]: expected string`. */
export function describeSchemaError(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${formatPath(path)}${path.length === 0 ? '' : ': '}${message.slice(0, 200)}`)
    .join('; ');
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    const name = String(key).slice(0, 100);
    return text === '' ? name : `${text}.${name}`;
  }, '');
}
