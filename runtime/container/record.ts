import { z } from 'zod';
import type { Resources, Spec } from '../spec/types.js';
import type { ContainerRequest, Exit } from './types.js';

/**
 * What a container leaves behind: `record.json`, written once, below the state directory before anything is made and on
 * disk before anybody hears of it, and `state.json`, written below the state directory when it was created, and on disk
 * when it exited or its limits changed, which counts then. What it does in between its monitor knows. A record of this
 * boot without a state is a creation that never ended.
 */
export interface ContainerRecord {
  readonly version: 1;
  readonly bootId: string;
  readonly id: string;
  readonly createdAtNs: string;
  readonly request: ContainerRequest;
  readonly cgroupPath: string;
}

export interface ContainerStateFile {
  readonly version: 1;
  readonly phase: 'created' | 'exited';
  readonly init?: { readonly pid: number; readonly startTime: string } | undefined;
  readonly exit?: Exit | undefined;
  /** Frozen on request; a container that is found frozen without it was being checkpointed. */
  readonly paused?: boolean | undefined;
  /** The spec as started; its limits follow updates. */
  readonly resources?: Resources | undefined;
  readonly timingsMs: Readonly<Record<string, number>>;
}

const nanoseconds = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform((text) => BigInt(text));

const recordSchema = z.object({
  version: z.literal(1),
  bootId: z.string(),
  id: z.string().regex(/^[0-9a-f]{64}$/),
  createdAtNs: z.string().regex(/^\d+$/),
  request: z.custom<ContainerRequest>(
    (value) => typeof value === 'object' && value !== null && 'spec' in value && 'sandboxId' in value,
  ),
  cgroupPath: z.string().startsWith('/'),
});

const stateSchema = z.object({
  version: z.literal(1),
  phase: z.enum(['created', 'exited']),
  init: z.object({ pid: z.int().positive(), startTime: z.string().regex(/^\d+$/) }).optional(),
  exit: z
    .object({
      code: z.int(),
      signal: z.int(),
      oomKilled: z.boolean(),
      startedAtNs: nanoseconds,
      finishedAtNs: nanoseconds,
      reason: z.string(),
      message: z.string(),
    })
    .optional(),
  paused: z.boolean().optional(),
  resources: z.custom<Resources>((value) => typeof value === 'object' && value !== null).optional(),
  timingsMs: z.record(z.string(), z.number()),
});

/** @throws ZodError or SyntaxError for a torn or foreign file */
export function parseContainerRecord(text: string): ContainerRecord {
  return recordSchema.parse(JSON.parse(text));
}

export function parseContainerState(text: string): ContainerStateFile {
  return stateSchema.parse(JSON.parse(text));
}

/** JSON with the nanoseconds as decimal text. */
export function printContainerState(state: ContainerStateFile): string {
  return JSON.stringify(state, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
}

/** The spec as it stands after updates. */
export function withResources(spec: Spec, resources: Resources | undefined): Spec {
  return resources === undefined ? spec : { ...spec, linux: { ...spec.linux, resources } };
}
