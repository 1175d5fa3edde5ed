import type { IdMapping, Spec } from '../spec/types.js';
import { type Draft, takeSlot } from './draft.js';
import type { Plan, PlanStep, Slot } from './steps.js';

/** Which ids of the host those of a user namespace, or of an idmapped mount, are. */
export interface IdMaps {
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
}

/** The maps of the user namespace that the container has, if it has one. */
export function idMapsOf({ linux }: Spec): IdMaps | undefined {
  if (linux?.namespaces?.some(({ type }) => type === 'user') !== true) return undefined;
  return { uidMappings: linux.uidMappings ?? [], gidMappings: linux.gidMappings ?? [] };
}

/** The host's id, or undefined if the namespace has none. */
export function hostIdOf(mappings: readonly IdMapping[], id: number): number | undefined {
  const found = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return found && found.hostID + id - found.containerID;
}

/** A descriptor with these maps: the namespace of the sandbox where they are its own, else one made for them, once. */
export function idMapSlot(draft: Draft, maps: IdMaps): Slot {
  const { uidMap, gidMap } = mapTexts(maps);
  const known = draft.userNamespaces.get(uidMap + gidMap);
  if (known !== undefined) return known;
  const out = takeSlot(draft);
  const about = 'make a user namespace for its maps';
  draft.parent.push({ kind: 'user-namespace', out, uidMap, gidMap, about });
  draft.userNamespaces.set(uidMap + gidMap, out);
  return out;
}

/** The user namespace of this slot is one with these maps. */
export function knowIdMapSlot(draft: Draft, maps: IdMaps, slot: Slot): void {
  const { uidMap, gidMap } = mapTexts(maps);
  draft.userNamespaces.set(uidMap + gidMap, slot);
}

/** What gives a child that was cloned into a new user namespace its maps: the launcher's steps, and the child's. */
export function idMapSteps(maps: IdMaps): Plan {
  const about = 'write the maps of the user namespace';
  const mapped: PlanStep = { kind: 'sync', token: ID_MAP_TOKEN, about };
  return {
    parent: [{ kind: 'id-map', ...mapTexts(maps), denySetgroups: false, about }, mapped],
    child: [mapped],
  };
}

/** Any number that no other rendezvous of a plan has. */
const ID_MAP_TOKEN = 2;

function mapTexts({ uidMappings, gidMappings }: IdMaps): {
  readonly uidMap: string;
  readonly gidMap: string;
} {
  return { uidMap: mapText(uidMappings), gidMap: mapText(gidMappings) };
}

/** man 7 user_namespaces, "Defining user and group ID mappings". */
function mapText(mappings: readonly IdMapping[]): string {
  return mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('');
}
