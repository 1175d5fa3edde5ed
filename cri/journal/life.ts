import type { Container } from '../../runtime/container/types.js';
import type { Runtime } from '../../runtime/index.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { type JournalEntry, type Subject, keyOf } from './entry.js';
import type { Journal } from './journal.js';
import { exitEntry } from './observe.js';
import { subjectOfContainer, subjectOfSandbox } from './subject.js';

/** All that is known of one pod, container or image. */
export interface Life {
  readonly subject: Subject;
  /** What it is now; absent if there is no such object (any more). */
  readonly state?: string | undefined;
  /** The oldest first. */
  readonly entries: readonly JournalEntry[];
  /** Whether its root file system is read-only. */
  readonly readOnlyRoot?: boolean;
}

/**
 * The lives that a question is about: an id or its beginning, the name of a pod or container, a pod's uid, `NAMESPACE/POD`,
 * `POD/CONTAINER`, `NAMESPACE/POD/CONTAINER`, the reference of an image. A pod brings its containers and the images that
 * were pulled for it. Those that something happened to last come last.
 */
export function livesOf(question: string, journal: Journal, runtime: Runtime): readonly Life[] {
  return allLives(journal, runtime)
    .filter(({ subject }) => isAbout(subject, question))
    .sort((one, other) => lastMs(one) - lastMs(other));
}

function isAbout({ kind, id, name, pod }: Subject, question: string): boolean {
  const byId =
    /^[0-9a-f]+$/.test(question) && (id.startsWith(question) || (pod?.id.startsWith(question) ?? false));
  const podName = pod?.name ?? '';
  const names = [name, podName, pod?.uid ?? '', `${pod?.namespace}/${podName}`];
  if (kind === 'container') names.push(`${podName}/${name}`, `${pod?.namespace}/${podName}/${name}`);
  return byId || names.includes(question);
}

interface GatheredLife extends Life {
  subject: Subject;
  readonly entries: JournalEntry[];
}

function allLives(journal: Journal, runtime: Runtime): readonly Life[] {
  const lives = new Map<string, GatheredLife>();
  const keys = new Map<string, string>();
  const keyFor = (subject: Subject): string => {
    const known = subject.id === '' ? undefined : keys.get(subject.id);
    const key = known ?? keyOf(subject);
    if (subject.id !== '') keys.set(subject.id, key);
    return key;
  };
  for (const entry of journal.entries()) {
    const key = keyFor(entry.subject);
    const life = lives.get(key);
    if (life === undefined) {
      lives.set(key, { subject: entry.subject, entries: [entry] });
    } else {
      // Names and ids of both: a failed creation has no id, one whose pod is gone has no names.
      life.subject = completed(life.subject, entry.subject);
      life.entries.push(entry);
    }
  }
  for (const living of [
    ...runtime.sandboxes.list().map(sandboxLife),
    ...runtime.containers.list().map(containerLife(runtime)),
  ]) {
    const key = keyFor(living.subject);
    lives.set(key, {
      ...living,
      entries: withoutDoubles([...(lives.get(key)?.entries ?? []), ...living.entries]),
    });
  }
  return [...lives.values()];
}

function completed(known: Subject, latest: Subject): Subject {
  return {
    ...latest,
    id: latest.id === '' ? known.id : latest.id,
    pod: latest.pod === undefined || latest.pod.name === '' ? known.pod : latest.pod,
    log: latest.log ?? known.log,
  };
}

function sandboxLife(sandbox: Sandbox): Life {
  const { state, network } = sandbox;
  const detail =
    state.phase === 'ready'
      ? (network?.ips ?? []).join(' ')
      : state.phase === 'notready'
        ? state.message
        : '';
  return {
    subject: subjectOfSandbox(sandbox),
    state: detail === '' ? state.phase : `${state.phase}, ${detail}`,
    entries: [],
  };
}

function containerLife(runtime: Runtime): (container: Container) => Life {
  return (container) => {
    const exited = exitEntry(container, runtime);
    return {
      subject: subjectOfContainer(container, runtime),
      state:
        container.state.phase === 'unknown' ? `unknown, ${container.state.message}` : container.state.phase,
      entries: exited === undefined ? [] : [exited],
      readOnlyRoot: container.spec.root?.readonly === true,
    };
  };
}

/** The end of a container is both in the journal and in its state. */
function withoutDoubles(entries: readonly JournalEntry[]): JournalEntry[] {
  const firstExit = entries.findIndex(({ exit }) => exit !== undefined);
  return entries.filter(({ exit }, index) => exit === undefined || index === firstExit);
}

function lastMs({ entries }: Life): number {
  return entries.at(-1)?.atMs ?? 0;
}

/** What happened to one object, for its `verbose` status. */
export function lifeOf(id: string, journal: Journal, runtime: Runtime): readonly JournalEntry[] {
  return allLives(journal, runtime).find(({ subject }) => subject.id === id)?.entries ?? [];
}
