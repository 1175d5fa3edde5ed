import { z } from 'zod';
import type { NetworkAttachment, NetworkResult } from '../network/types.js';
import type { PodLimits, SandboxRequest } from './types.js';

/**
 * What a sandbox leaves behind: `record.json`, written once, below the state directory, which goes with the boot, before
 * anything is made and on disk before anybody hears of it, and `state.json` below the state directory, written when the
 * sandbox became ready and when it stopped. A record of this boot without a state is a creation that never ended.
 */
export interface SandboxRecord {
  readonly version: 1;
  readonly bootId: string;
  readonly id: string;
  readonly createdAtNs: string;
  readonly request: SandboxRequest;
  readonly cgroupPath: string;
  readonly netnsPath?: string | undefined;
  readonly attachment?: NetworkAttachment | undefined;
}

export interface SandboxStateFile {
  readonly version: 1;
  readonly phase: 'ready' | 'notready';
  readonly pause?: { readonly pid: number; readonly startTime: string } | undefined;
  readonly network?: NetworkResult | undefined;
  readonly message?: string | undefined;
  /** Where they were changed. */
  readonly podLimits?: PodLimits | undefined;
  readonly timingsMs: Readonly<Record<string, number>>;
}

const identity = z.object({ pid: z.int().positive(), startTime: z.string().regex(/^\d+$/) });

/** The parts that recovery acts on are checked; the request is ours, written by the same code. */
const recordSchema = z.object({
  version: z.literal(1),
  bootId: z.string(),
  id: z.string().regex(/^[0-9a-f]{64}$/),
  createdAtNs: z.string().regex(/^\d+$/),
  request: z.custom<SandboxRequest>(
    (value) => typeof value === 'object' && value !== null && 'name' in value && 'namespaces' in value,
  ),
  cgroupPath: z.string().startsWith('/'),
  netnsPath: z.string().startsWith('/').optional(),
  attachment: z
    .custom<NetworkAttachment>((value) => typeof value === 'object' && value !== null && 'kind' in value)
    .optional(),
});

const stateSchema = z.object({
  version: z.literal(1),
  phase: z.enum(['ready', 'notready']),
  pause: identity.optional(),
  network: z
    .custom<NetworkResult>((value) => typeof value === 'object' && value !== null && 'ips' in value)
    .optional(),
  message: z.string().optional(),
  podLimits: z.custom<PodLimits>((value) => typeof value === 'object' && value !== null).optional(),
  timingsMs: z.record(z.string(), z.number()),
});

/** @throws ZodError or SyntaxError for a torn or foreign file */
export function parseSandboxRecord(text: string): SandboxRecord {
  return recordSchema.parse(JSON.parse(text));
}

export function parseSandboxState(text: string): SandboxStateFile {
  return stateSchema.parse(JSON.parse(text));
}
