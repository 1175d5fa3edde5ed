import { binding, closer } from './binding.js';
import type { Fd } from './binding.js';

export interface Watch {
  /** Ends it; safe to repeat. Nothing is called back afterwards. */
  close(): void;
}

/**
 * poll(2) for POLLPRI on an open kernel file (PSI trigger, cgroup events); calls back for every event until closed.
 * The descriptor stays the caller's. (The kernel drops the last byte written to a pressure file: end it with a newline.)
 * `onEnd`: the cgroup is gone and the watch has closed itself.
 */
export function watchPriority(fd: Fd, onEvent: () => void, onEnd: () => void = () => {}): Watch {
  const id = binding.watchPriority(fd, onEvent, onEnd);
  return { close: closer(id) };
}
/**
 * An eventfd registered on a v1 control file: writes "EVENTFD FD ARGS" to cgroup.event_control. The removal of the
 * cgroup is an event too: the caller looks whether it is still there.
 */
export function watchCgroupEvent(
  eventControlPath: string,
  controlFd: Fd,
  args: string,
  onEvent: (count: bigint) => void,
): Watch {
  return { close: closer(binding.watchCgroupEvent(eventControlPath, controlFd, args, onEvent)) };
}

export interface Inotify {
  /** Returns the watch descriptor. */
  add(path: string, mask: number): number;
  remove(watch: number): void;
  close(): void;
}
/** The process-wide inotify instance is the caller's to share: the limit is 128 per user. */
export function openInotify(onEvent: (watch: number, mask: number, name: string) => void): Inotify {
  const id = binding.openInotify(onEvent);
  return {
    add: (target, mask) => binding.inotifyAdd(id, target, mask),
    remove: (watch) => {
      binding.inotifyRemove(id, watch);
    },
    close: closer(id),
  };
}
