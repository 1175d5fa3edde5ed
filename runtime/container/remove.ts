import { untilAborted } from '../base/keyed-lock.js';
import { failpoint } from '../base/failpoint.js';
import { forgetContainer } from './create.js';
import { unpinImages } from './image-mounts.js';
import type { Containers, LiveContainer } from './service.js';
import { stopContainer } from './stop.js';

/** Kills what runs, then removes everything; a second call joins the first. */
export async function removeContainer(
  room: Containers,
  live: LiveContainer,
  signal: AbortSignal,
): Promise<void> {
  live.removing ??= removeOnce(room, live).finally(() => {
    live.removing = undefined;
  });
  await untilAborted(live.removing, signal);
}

async function removeOnce(room: Containers, live: LiveContainer): Promise<void> {
  const { deps, store } = room;
  const { id, request, cgroupPath } = live.value;
  await stopContainer(room, live, 0, undefined);
  const cleaned = await live.cleaned;
  await room.lock.hold(id, async () => {
    room.apply(live, { event: 'removing' });
    if (!cleaned) await deps.cgroups.open(cgroupPath).remove();
    failpoint('container.remove.after-cgroup');
    await deps.snapshots.remove(id);
    failpoint('container.remove.after-snapshot');
    await forgetContainer(room, id);
    unpinImages(room, id, request);
    store.delete(id);
    store.releaseName(request.name, id);
  });
  room.publish('removed', live);
}
