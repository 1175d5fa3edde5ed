import { ContainersService } from '../../protos/gen/containerd/services/containers/v1/containers.js';
import { TasksService } from '../../protos/gen/containerd/services/tasks/v1/tasks.js';
import { VersionService } from '../../protos/gen/containerd/services/version/v1/version.js';
import type { HandlerTable } from '../rpc.js';
import { getContainer } from './get-container.js';
import { getTask } from './get-task.js';

export { ContainersService, TasksService, VersionService };

/**
 * The three calls of containerd's API by which cAdvisor, in the kubelet, learns whose cgroups it sees: the kubelet's flag
 * `--containerd` names the socket. Everything else of that API is Unimplemented.
 */
export const versionService: HandlerTable<VersionService> = {
  version: (_, { version }) => ({ version, revision: '' }),
};

export const containersService: HandlerTable<ContainersService> = { get: getContainer };

export const tasksService: HandlerTable<TasksService> = { get: getTask };
