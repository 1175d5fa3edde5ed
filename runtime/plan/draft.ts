import { RuntimeError } from '../errors.js';
import { type Plan, type PlanStep, type Slot, maxSlots, slots } from './steps.js';

/** A plan being compiled: the two lists, what ends the child's mounts, and the next free slot. */
export interface Draft extends Plan {
  readonly parent: PlanStep[];
  readonly child: PlanStep[];
  /** Steps that make mounts read-only, once everything inside them is made. */
  readonly sealing: PlanStep[];
  /** Descriptors of user namespaces by their maps, for idmapped mounts. */
  readonly userNamespaces: Map<string, Slot>;
  nextSlot: Slot;
}

export function newDraft(): Draft {
  return { parent: [], child: [], sealing: [], userNamespaces: new Map(), nextSlot: slots.free };
}

/** @throws ResourceExhausted when a plan needs more descriptors than a launch has */
export function takeSlot(draft: Draft): Slot {
  if (draft.nextSlot >= maxSlots) {
    throw new RuntimeError(
      'ResourceExhausted',
      `too many mounts: a container can have about ${maxSlots - slots.free}`,
    );
  }
  return draft.nextSlot++;
}
