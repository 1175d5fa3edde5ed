import { z } from 'zod';
import { configSchema } from './config-schema.js';

export interface OptionDescription {
  /** What it is for. */
  readonly text: string;
  /** What its value must be: `an integer from 1 to 64`. */
  readonly form: string;
}

/** The documentation of an option, from its schema. */
export function describeOption(key: readonly string[]): OptionDescription {
  const schema = schemaAt(key);
  if (schema === undefined) return { text: '', form: '' };
  const form = formOf(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Form);
  return { text: schema.description ?? '', form };
}

/** What is used of a JSON schema. */
interface Form {
  readonly title?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Form[];
  readonly items?: Form;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly format?: string;
}

function formOf(form: Form): string {
  if (form.title !== undefined) return form.title;
  if (form.const !== undefined) return JSON.stringify(form.const);
  if (form.enum !== undefined) return form.enum.map((value) => JSON.stringify(value)).join(', ');
  if (form.anyOf !== undefined) return [...new Set(form.anyOf.map(formOf))].join(', or ');
  switch (form.type) {
    case 'integer':
    case 'number':
      return `${form.type === 'integer' ? 'an integer' : 'a number'} from ${form.minimum} to ${form.maximum}`;
    case 'boolean':
      return 'true or false';
    case 'array':
      return `${countText(form)}, each ${formOf(form.items ?? {})}`;
    case 'string':
      return form.format === undefined ? 'a string' : `an ${form.format} address`;
    default:
      return form.type ?? 'any value';
  }
}

function countText({ minItems, maxItems }: Form): string {
  const least = minItems === undefined ? '' : ` of at least ${minItems}`;
  return maxItems === undefined ? `a list${least}` : `a list of ${minItems ?? 0} to ${maxItems}`;
}

function schemaAt(key: readonly string[]): z.ZodType | undefined {
  let schema: z.ZodType | undefined = configSchema;
  for (const name of key) {
    const inner: z.ZodType | undefined =
      schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault
        ? (schema.unwrap() as z.ZodType)
        : schema;
    if (inner instanceof z.ZodRecord) schema = inner.valueType as z.ZodType;
    else schema = inner instanceof z.ZodObject ? (inner.shape[name] as z.ZodType | undefined) : undefined;
  }
  return schema;
}

/** Whether an option takes a list. */
export function isList(key: string): boolean {
  const schema = schemaAt(key.split('.'));
  return schema instanceof z.ZodDefault && schema.unwrap() instanceof z.ZodArray;
}
