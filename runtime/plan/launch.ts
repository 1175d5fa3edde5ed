import type { PlanStep, Slot } from './steps.js';

export interface LaunchOptions {
  /** CLONE_NEW* */
  readonly cloneFlags: number;
  /** The unified cgroup directory into which the child is cloned. */
  readonly cgroup: Slot | undefined;
  readonly oomScoreAdj: number | undefined;
  /** What the launcher does once the child is there. */
  readonly after?: readonly PlanStep[] | undefined;
}

/**
 * The launcher's last steps: everything is open, the child starts. No rendezvous ends them: the child enters a shared pid
 * namespace, becomes ready or the command only when the launcher's list is done.
 */
export function launchSteps({
  cloneFlags,
  cgroup,
  oomScoreAdj,
  after = [],
}: LaunchOptions): readonly PlanStep[] {
  return [
    { kind: 'clone', flags: cloneFlags, cgroup, about: 'start the process' },
    ...(oomScoreAdj === undefined
      ? []
      : [{ kind: 'oom-score-adj', value: oomScoreAdj, about: `set oom_score_adj ${oomScoreAdj}` } as const]),
    ...after,
  ];
}
