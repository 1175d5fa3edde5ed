import type { PlanStep, Slot } from './steps.js';

/** Where the child waits for the launcher's last step. */
export const rendezvous: PlanStep = { kind: 'sync', token: 1 };

export interface LaunchOptions {
  /** CLONE_NEW* */
  readonly cloneFlags: number;
  /** The unified cgroup directory into which the child is cloned. */
  readonly cgroup: Slot | undefined;
  readonly oomScoreAdj: number | undefined;
  /** What the launcher does once the child is there. */
  readonly after?: readonly PlanStep[] | undefined;
  /** Whether the child has a {@link rendezvous}. */
  readonly wait: boolean;
}

/** The launcher's last steps: everything is open, the child starts. */
export function launchSteps({
  cloneFlags,
  cgroup,
  oomScoreAdj,
  after = [],
  wait,
}: LaunchOptions): readonly PlanStep[] {
  return [
    { kind: 'clone', flags: cloneFlags, cgroup, about: 'start the process' },
    ...(oomScoreAdj === undefined
      ? []
      : [{ kind: 'oom-score-adj', value: oomScoreAdj, about: `set oom_score_adj ${oomScoreAdj}` } as const]),
    ...after,
    ...(wait ? [rendezvous] : []),
  ];
}
