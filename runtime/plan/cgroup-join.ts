import type { CgroupJoin } from '../cgroup/types.js';
import { type Draft, takeSlot } from './draft.js';
import { O_CLOEXEC, O_DIRECTORY, O_PATH, O_WRONLY } from './kernel.js';
import type { Slot } from './steps.js';

const zero = Buffer.from('0');

/**
 * The child's first steps: it writes itself into each v1 hierarchy (fast, because it has one thread: cgroup.procs would
 * wait for a grace period). Returns the descriptor of the unified directory into which it is cloned.
 */
export function addCgroupJoin(draft: Draft, join: CgroupJoin): Slot | undefined {
  if (join.v1TasksPaths.length > 0) {
    const slot = takeSlot(draft);
    for (const path of join.v1TasksPaths) {
      const about = `join the cgroup ${path}`;
      draft.child.push(
        { kind: 'open', out: slot, path, flags: O_WRONLY | O_CLOEXEC, about },
        { kind: 'write', slot, data: zero, about },
      );
    }
  }
  if (join.unifiedPath === undefined) return undefined;
  const out = takeSlot(draft);
  const about = `join the cgroup ${join.unifiedPath}`;
  draft.parent.push({
    kind: 'open',
    out,
    path: join.unifiedPath,
    flags: O_PATH | O_DIRECTORY | O_CLOEXEC,
    about,
  });
  return out;
}
