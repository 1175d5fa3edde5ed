import type * as api from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../../runtime/container/types.js';
import type { Logger } from '../../runtime/base/logger.js';
import { codeOf, evidenceOf, RuntimeError } from '../../runtime/errors.js';
import type { Runtime } from '../../runtime/index.js';
import { statusOf } from '../status.js';
import type { Failure, JournalEntry, Subject } from './entry.js';
import type { Journal } from './journal.js';
import {
  subjectOfContainer,
  subjectOfContainerRequest,
  subjectOfImage,
  subjectOfPodRequest,
  subjectOfSandbox,
} from './subject.js';

/** A call that was answered. */
export interface AnsweredCall {
  readonly rpc: string;
  readonly request: unknown;
  /** Absent if it failed. */
  readonly response?: unknown;
  readonly failure?: unknown;
  readonly durationMs: number;
}

interface Watched {
  readonly what: string;
  /** Probes succeed every second: only their failures are worth an entry. */
  readonly onlyFailures?: boolean;
}

/** Calls that are part of an object's life; lists and status are not. */
const watched: ReadonlyMap<string, Watched> = new Map<string, Watched>([
  ['runPodSandbox', { what: 'run pod sandbox' }],
  ['stopPodSandbox', { what: 'stop pod sandbox' }],
  ['removePodSandbox', { what: 'remove pod sandbox' }],
  ['updatePodSandboxResources', { what: 'update pod sandbox' }],
  ['createContainer', { what: 'create container' }],
  ['startContainer', { what: 'start container' }],
  ['stopContainer', { what: 'stop container' }],
  ['removeContainer', { what: 'remove container' }],
  ['updateContainerResources', { what: 'update container' }],
  ['checkpointContainer', { what: 'checkpoint container' }],
  ['execSync', { what: 'exec', onlyFailures: true }],
  ['exec', { what: 'exec', onlyFailures: true }],
  ['attach', { what: 'attach', onlyFailures: true }],
  ['portForward', { what: 'port-forward', onlyFailures: true }],
  ['reopenContainerLog', { what: 'reopen container log', onlyFailures: true }],
  ['pullImage', { what: 'pull image' }],
  ['removeImage', { what: 'remove image', onlyFailures: true }],
]);

/** Notes how a call ended. Of the request it takes names and ids, nothing else; it returns whom it noted it of. */
export function noteCall(journal: Journal, runtime: Runtime, call: AnsweredCall): Subject | undefined {
  const entry = watched.get(call.rpc);
  const { failure } = call;
  if (entry === undefined || (failure === undefined && entry.onlyFailures === true)) return undefined;
  const subject = subjectOf(journal, runtime, call);
  if (subject === undefined) return undefined;
  const { stagesMs, ...evidence } = evidenceOf(failure);
  journal.note({
    // When it began: what it brought about comes after it.
    atMs: Date.now() - Math.round(call.durationMs),
    what: entry.what,
    subject,
    durationMs: call.durationMs,
    stagesMs: stagesMs ?? (failure === undefined ? stagesOf(call, runtime, subject) : undefined),
    failure: failure === undefined ? undefined : { ...describe(failure), ...evidence },
  });
  return subject;
}

/** Fields of a log line that is about it. */
export function namesOf(subject: Subject | undefined): Readonly<Record<string, string>> {
  if (subject === undefined) return {};
  const { kind, id, name, pod } = subject;
  const fields = {
    podSandboxId: pod?.id ?? '',
    namespace: pod?.namespace ?? '',
    pod: pod?.name ?? '',
    ...(kind === 'container' ? { containerId: id, container: name } : {}),
    ...(kind === 'image' ? { image: name } : {}),
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''));
}

/** Notes the ends of containers, and pods that lost their pause process. */
export function noteChanges(journal: Journal, runtime: Runtime, log: Logger): void {
  runtime.containers.subscribe(({ kind, container }) => {
    if (kind !== 'stopped') return;
    const entry = exitEntry(container, runtime);
    if (entry === undefined) return;
    journal.note(entry);
    log.info('container ended', { ...namesOf(entry.subject), ...entry.exit });
  });
  runtime.sandboxes.subscribe(({ kind, sandbox }) => {
    if (kind !== 'notready' || sandbox.state.phase !== 'notready') return;
    const { message } = sandbox.state;
    journal.note({ atMs: Date.now(), what: 'not ready', subject: subjectOfSandbox(sandbox), note: message });
  });
}

/** The end of a container, if it has ended. */
export function exitEntry(container: Container, runtime: Runtime): JournalEntry | undefined {
  const { state } = container;
  const exit = state.phase === 'exited' || state.phase === 'removing' ? state.exit : undefined;
  if (exit === undefined) return undefined;
  const { code, signal, reason, message, startedAtNs, finishedAtNs } = exit;
  const atMs = Number(finishedAtNs / 1_000_000n);
  return {
    atMs,
    what: 'exited',
    subject: subjectOfContainer(container, runtime),
    durationMs: startedAtNs === 0n ? undefined : atMs - Number(startedAtNs / 1_000_000n),
    exit: { code, signal, reason, message },
  };
}

function describe(failure: unknown): Failure {
  return {
    sentence: statusOf(failure).details,
    code: codeOf(failure),
    reason: failure instanceof RuntimeError ? failure.reason : undefined,
  };
}

function subjectOf(journal: Journal, runtime: Runtime, { rpc, request, response }: AnsweredCall) {
  switch (rpc) {
    case 'runPodSandbox':
      return subjectOfPodRequest(
        request as api.RunPodSandboxRequest,
        response as api.RunPodSandboxResponse | undefined,
      );
    case 'createContainer': {
      const made = (response as api.CreateContainerResponse | undefined)?.containerId ?? '';
      return made === ''
        ? subjectOfContainerRequest(request as api.CreateContainerRequest, runtime)
        : subjectById(journal, runtime, { containerId: made });
    }
    case 'pullImage':
    case 'removeImage':
      return subjectOfImage(request as Partial<api.PullImageRequest>);
    default:
      return subjectById(journal, runtime, request as Ids);
  }
}

interface Ids {
  readonly containerId?: string;
  readonly podSandboxId?: string;
}

/** An object by its id; one that is gone is known from its last entry. */
function subjectById(
  journal: Journal,
  runtime: Runtime,
  { containerId = '', podSandboxId = '' }: Ids,
): Subject | undefined {
  try {
    if (containerId !== '') {
      const container = runtime.containers.find(containerId);
      return container === undefined
        ? journal.lastSubject('container', containerId)
        : subjectOfContainer(container, runtime);
    }
    if (podSandboxId === '') return undefined;
    const sandbox = runtime.sandboxes.find(podSandboxId);
    return sandbox === undefined ? journal.lastSubject('pod', podSandboxId) : subjectOfSandbox(sandbox);
  } catch {
    // A record that another version wrote names nobody.
    return undefined;
  }
}

function stagesOf({ rpc }: AnsweredCall, runtime: Runtime, { id }: Subject): JournalEntry['stagesMs'] {
  if (rpc === 'runPodSandbox') return runtime.sandboxes.find(id)?.timingsMs;
  if (rpc === 'createContainer') return runtime.containers.find(id)?.timingsMs;
  return undefined;
}
