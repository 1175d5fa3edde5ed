import { RuntimeError } from '../errors.js';
import type { ProcessIdentity } from '../sandbox/types.js';
import type { ContainerPhase, ContainerState, Exit } from './types.js';

/** Everything that can happen to a container. */
export type ContainerEvent =
  | { readonly event: 'created'; readonly init: ProcessIdentity }
  | { readonly event: 'started'; readonly atNs: bigint }
  | { readonly event: 'paused' }
  | { readonly event: 'resumed' }
  | { readonly event: 'exited'; readonly exit: Exit }
  | { readonly event: 'removing' }
  | { readonly event: 'lost'; readonly message: string };

export type ContainerEventName = ContainerEvent['event'];

export const containerPhases: readonly ContainerPhase[] = [
  'creating',
  'created',
  'running',
  'paused',
  'exited',
  'removing',
  'unknown',
];

export const containerEvents: readonly ContainerEventName[] = [
  'created',
  'started',
  'paused',
  'resumed',
  'exited',
  'removing',
  'lost',
];

/**
 * The state machine, total: the next phase of every phase × event, `null` where the event is refused.
 * `exited` is taken in every phase that has a process (a process may end at any moment); a second `exited` or
 * `removing` changes nothing, because stop and remove are idempotent.
 */
export const transitions: Readonly<
  Record<ContainerPhase, Readonly<Record<ContainerEventName, ContainerPhase | null>>>
> = {
  creating: {
    created: 'created',
    started: null,
    paused: null,
    resumed: null,
    exited: 'exited',
    removing: 'removing',
    lost: 'unknown',
  },
  created: {
    created: null,
    started: 'running',
    paused: null,
    resumed: null,
    exited: 'exited',
    removing: null,
    lost: 'unknown',
  },
  running: {
    created: null,
    started: null,
    paused: 'paused',
    resumed: null,
    exited: 'exited',
    removing: null,
    lost: 'unknown',
  },
  paused: {
    created: null,
    started: null,
    paused: null,
    resumed: 'running',
    exited: 'exited',
    removing: null,
    lost: 'unknown',
  },
  exited: {
    created: null,
    started: null,
    paused: null,
    resumed: null,
    exited: 'exited',
    removing: 'removing',
    lost: null,
  },
  removing: {
    created: null,
    started: null,
    paused: null,
    resumed: null,
    exited: 'removing',
    removing: 'removing',
    lost: null,
  },
  unknown: {
    created: null,
    started: null,
    paused: null,
    resumed: null,
    exited: 'exited',
    removing: 'removing',
    lost: 'unknown',
  },
};

/** The state after an event. @throws FailedPrecondition where the table refuses it */
export function transition(state: ContainerState, change: ContainerEvent): ContainerState {
  const next = transitions[state.phase][change.event];
  if (next === null)
    throw new RuntimeError('FailedPrecondition', `container is ${state.phase}, not ${needed[change.event]}`);
  switch (change.event) {
    case 'created':
      return { phase: 'created', init: change.init };
    case 'started':
      return state.phase === 'created'
        ? { phase: 'running', init: state.init, startedAtNs: change.atNs }
        : state;
    case 'paused':
      return state.phase === 'running' ? { ...state, phase: 'paused' } : state;
    case 'resumed':
      return state.phase === 'paused' ? { ...state, phase: 'running' } : state;
    case 'exited':
      return state.phase === 'exited' || state.phase === 'removing'
        ? state
        : { phase: 'exited', exit: change.exit };
    case 'removing':
      return state.phase === 'removing'
        ? state
        : { phase: 'removing', exit: state.phase === 'exited' ? state.exit : undefined };
    case 'lost':
      return { phase: 'unknown', message: change.message };
  }
}

const needed: Readonly<Record<ContainerEventName, string>> = {
  created: 'creating',
  started: 'created',
  paused: 'running',
  resumed: 'paused',
  exited: 'running',
  removing: 'exited',
  lost: 'running',
};
