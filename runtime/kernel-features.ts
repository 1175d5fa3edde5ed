import { messageOf } from './errors.js';
import { MOUNT_ATTR_RDONLY } from './plan/kernel.js';
import { newDraft, takeSlot } from './plan/draft.js';
import { type Plan, type PlanStep, slots } from './plan/steps.js';
import { idMapSlot } from './plan/user-namespace.js';

/** What depends on the kernel, on the file systems of our directories, and on what this node lets us do: why not, if not. */
export interface KernelFeatures {
  readonly userNamespaces: string | undefined;
  readonly recursiveReadOnlyMounts: string | undefined;
}

/**
 * Tries what containers would need, once: the answer is kept. User namespaces take idmapped mounts of the layers, of what
 * pods get from the state directory, and of tmpfs (Linux 6.3), which Kubernetes' own volumes lie on.
 */
export function kernelFeatures(options: {
  readonly directories: readonly string[];
  readonly runPlan: (plan: Plan) => Promise<unknown>;
}): () => Promise<KernelFeatures> {
  const attempt = (plan: Plan): Promise<string | undefined> =>
    options.runPlan(plan).then(() => undefined, messageOf);
  const find = async (): Promise<KernelFeatures> => {
    const [userNamespaces, recursiveReadOnlyMounts] = await Promise.all([
      attempt(idmapPlan(options.directories)),
      attempt(readOnlyPlan('/')),
    ]);
    return { userNamespaces, recursiveReadOnlyMounts };
  };
  let found: Promise<KernelFeatures> | undefined;
  return () => (found ??= find());
}

function idmapPlan(directories: readonly string[]): Plan {
  const draft = newDraft();
  const mappings = [{ containerID: 0, hostID: 65_536, size: 65_536 }];
  const userNamespace = idMapSlot(draft, { uidMappings: mappings, gidMappings: mappings });
  const out = takeSlot(draft);
  const sources: readonly PlanStep[] = [
    ...directories.map((path) => ({ kind: 'open-tree', out, path, recursive: false, about: path }) as const),
    { kind: 'fs-mount', out, type: 'tmpfs', options: [], attributes: 0, about: 'tmpfs' },
  ];
  for (const source of sources) {
    const about = `idmapped mount of ${source.about ?? ''}`;
    const none = { recursive: false, set: 0, clear: 0, propagation: 0 };
    draft.parent.push(source, { kind: 'mount-setattr', slot: out, ...none, userNamespace, about });
  }
  return { parent: draft.parent, child: [] };
}

function readOnlyPlan(path: string): Plan {
  const out = slots.free;
  const about = 'recursive read-only mount';
  return {
    parent: [
      { kind: 'open-tree', out, path, recursive: true, about },
      {
        kind: 'mount-setattr',
        slot: out,
        recursive: true,
        set: MOUNT_ATTR_RDONLY,
        clear: 0,
        propagation: 0,
        about,
      },
    ],
    child: [],
  };
}
