import { capabilitiesOf } from '../spec/capabilities.js';
import { rlimitNames } from '../spec/rlimits.js';
import { layoutByKind } from './layout.js';
import { type Plan, type PlanStep, slots } from './steps.js';

/** The plan as text, one step a line: for `verbose` answers, diffs and `--print-plan`. */
export function printPlan(plan: Plan): string {
  const list = (name: string, steps: readonly PlanStep[]) => [
    `${name}:`,
    ...steps.map((step, index) => `  ${String(index).padStart(3)}  ${describeStep(step)}`),
  ];
  return [...list('launcher', plan.parent), ...list('child', plan.child), ''].join('\n');
}

/** One line: the kind, its values and what it is for. */
export function describeStep(step: PlanStep): string {
  const values = step as unknown as Readonly<Record<string, unknown>>;
  const fields = layoutByKind.get(step.kind)?.fields ?? [];
  const words = fields.flatMap(([name, wire]) => {
    const value = values[name];
    if (value === undefined || value === '' || name === '') return [];
    return [`${name}=${wire === 'slot' ? slotName(value as number) : valueText(step, name, value)}`];
  });
  const about = step.about === undefined ? '' : `  # ${step.about}`;
  return `${[step.kind, ...words].join(' ')}${about}`;
}

const slotNames: ReadonlyMap<number, string> = new Map(
  Object.entries(slots)
    .filter(([name]) => name !== 'free' && name !== 'passed')
    .map(([name, slot]) => [slot, name]),
);

function slotName(slot: number): string {
  return slotNames.get(slot) ?? `#${slot}`;
}

const masks: ReadonlySet<string> = new Set(['mask', 'effective', 'permitted', 'inheritable', 'ambient']);
const octal: ReadonlySet<string> = new Set(['mode', 'umask']);
const flags: ReadonlySet<string> = new Set(['flags', 'set', 'clear', 'attributes', 'propagation', 'resolve']);

function valueText(step: PlanStep, name: string, value: unknown): string {
  if (value instanceof Uint8Array) return bytesText(value);
  if (Array.isArray(value)) return JSON.stringify(value);
  if (typeof value === 'string') return /[\s"\\]/.test(value) ? JSON.stringify(value) : value;
  if (typeof value === 'bigint') return masks.has(name) ? capabilityText(value) : limitText(value);
  if (typeof value !== 'number') return String(value);
  if (step.kind === 'rlimit' && name === 'resource') return rlimitNames[value] ?? String(value);
  if (octal.has(name)) return `0${value.toString(8)}`;
  return flags.has(name) ? `0x${value.toString(16)}` : String(value);
}

function bytesText(bytes: Uint8Array): string {
  return bytes.length <= 16 ? Buffer.from(bytes).toString('hex') : `(${bytes.length} bytes)`;
}

function capabilityText(mask: bigint): string {
  return capabilitiesOf(mask).join(',').replaceAll('CAP_', '').toLowerCase() || 'none';
}

function limitText(value: bigint): string {
  return value === (1n << 64n) - 1n ? 'unlimited' : String(value);
}
