import type { StatusRequest, StatusResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { latestTroubles } from '../journal/why.js';
import type { Call } from '../rpc.js';
import { handlerNames } from '../translate/handlers.js';
import { toInfo } from '../verbose.js';

export async function status(
  { verbose }: StatusRequest,
  { runtime, config, host, journal, version }: Call,
): Promise<StatusResponse> {
  const [network, kernel] = await Promise.all([runtime.network.status(), runtime.features()]);
  const userNamespaces = kernel.userNamespaces === undefined;
  const handlerFeatures = {
    recursiveReadOnlyMounts: kernel.recursiveReadOnlyMounts === undefined,
    userNamespaces,
  };
  return {
    status: {
      conditions: [
        { type: 'RuntimeReady', status: true, reason: '', message: '' },
        { type: 'NetworkReady', status: network.ready, reason: network.reason, message: network.message },
      ],
    },
    info: verbose
      ? toInfo({
          version,
          node: process.version,
          config,
          host,
          kernel,
          cgroup: {
            driver: runtime.cgroups.name,
            mode: runtime.cgroups.mode,
            controllers: [...runtime.cgroups.controllers],
          },
          pulls: runtime.images.counters(),
          memory: process.memoryUsage(),
          troubles: latestTroubles(journal),
        })
      : {},
    runtimeHandlers: handlerNames(config.runtime).map((name) => ({ name, features: handlerFeatures })),
    features: {
      supplementalGroupsPolicy: true,
      userNamespacesHostNetwork: userNamespaces,
      mountOptions: true,
    },
  };
}
