import { validateProcess } from '../spec/validate.js';
import { addCgroupJoin } from './cgroup-join.js';
import { newDraft, takeSlot } from './draft.js';
import { CLONE_NEWUSER } from './kernel.js';
import { launchSteps } from './launch.js';
import { execNamespaceFlags, leavesHostNamespace, openNamespace } from './namespaces.js';
import type { ExecPlanOptions } from './options.js';
import { processSteps, stdioOwner, stdioSteps } from './process.js';
import type { Plan } from './steps.js';
import { refuseUnimplementedProcess } from './unimplemented.js';
import { idMapsOf } from './user-namespace.js';

/**
 * Compiles the plan of another process in a running container.
 *
 * It joins the cgroup while the host's files are in sight, then every namespace of init by its pidfd, and the pid
 * namespace last: from then on the container's processes can see it, and it has nothing of the host left.
 *
 * @throws InvalidArgument naming the field, Unimplemented for what cannot work yet
 */
export function compileExecPlan(options: ExecPlanOptions): Plan {
  const { process, init, spec, sharedPid } = options;
  validateProcess(process);
  refuseUnimplementedProcess(process);
  const draft = newDraft();
  const cgroup = addCgroupJoin(draft, options.cgroup);
  const maps = idMapsOf(spec);
  // Before the process: if that is the one that is meant, so is the file.
  const pidFile = maps === undefined ? undefined : openNamespace(draft, 'pid', `/proc/${init.pid}/ns/pid`);
  const pidfd = takeSlot(draft);
  const startTime = BigInt(init.startTime);
  draft.parent.push({
    kind: 'open-pid',
    out: pidfd,
    pid: init.pid,
    startTime,
    about: `find the container's process ${init.pid}`,
  });
  const joinsPid = sharedPid || leavesHostNamespace(spec, 'pid');
  draft.child.push({
    kind: 'join',
    slot: pidfd,
    flags: execNamespaceFlags | (maps === undefined ? 0 : CLONE_NEWUSER),
    about: 'join the namespaces of the container',
  });
  if (joinsPid) {
    draft.child.push({
      kind: 'join-pid',
      slot: pidFile ?? pidfd,
      about: 'join the pid namespace of the container',
    });
  }
  const processOptions = { ...options, role: 'exec' as const };
  draft.child.push(...stdioSteps(processOptions), ...processSteps(processOptions));
  draft.parent.push(...stdioOwner(process, maps));
  draft.parent.push(...launchSteps({ cloneFlags: 0, cgroup, oomScoreAdj: process.oomScoreAdj }));
  return { parent: draft.parent, child: draft.child };
}
