import type {
  ContainerConfig,
  CreateContainerRequest,
  CreateContainerResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { RuntimeError } from '../../runtime/errors.js';
import type { Image } from '../../runtime/image/types.js';
import { findSandbox } from '../find.js';
import { resolveDevices } from '../host-devices.js';
import { resolveVolumes } from '../host-volumes.js';
import type { Call } from '../rpc.js';
import { loadSeccomp } from '../seccomp-profile.js';
import { toCapabilities } from '../translate/capabilities.js';
import { quote, refuse } from '../translate/check.js';
import { podClientOf } from '../translate/client-record.js';
import {
  type ContainerFindings,
  type ContainerWishes,
  toContainerRequest,
  toContainerWishes,
} from '../translate/container.js';
import { resolveUser } from '../translate/user.js';

/** Checks the request, looks at what it names on the host and in the image, and has the container made. */
export async function createContainer(
  { podSandboxId, config }: CreateContainerRequest,
  call: Call,
): Promise<CreateContainerResponse> {
  const { runtime, host, signal } = call;
  if (config === undefined) throw refuse('config', 'is missing');
  const sandbox = findSandbox(runtime, podSandboxId);
  if (sandbox.state.phase !== 'ready') {
    throw new RuntimeError('FailedPrecondition', 'pod sandbox', {
      subject: sandbox.id,
      cause: 'is not ready',
    });
  }
  const wishes = toContainerWishes(config, podClientOf(sandbox), host);
  const image = runtime.images.get(wishes.image);
  if (image === undefined) {
    throw new RuntimeError('NotFound', 'image', { subject: quote(wishes.image), cause: 'is not present' });
  }
  const findings = await lookAround(config, wishes, image, call);
  const container = await runtime.containers.create(
    toContainerRequest(config, sandbox, host, findings),
    signal,
  );
  return { containerId: container.id };
}

async function lookAround(
  config: ContainerConfig,
  wishes: ContainerWishes,
  image: Image,
  { runtime, host, userDatabases }: Call,
): Promise<ContainerFindings> {
  const capabilities = toCapabilities(
    config.linux?.securityContext?.capabilities,
    wishes.privileged,
    host.capabilities,
  );
  const chainId = image.layers.at(-1)?.chainId ?? '';
  const [files, volumes, devices, seccomp] = await Promise.all([
    userDatabases.of(chainId),
    resolveVolumes(wishes.volumes),
    resolveDevices(wishes.devices, wishes.privileged),
    loadSeccomp(wishes.seccomp, capabilities.bounding ?? [], runtime.seccomp),
  ]);
  return { image, user: resolveUser(wishes.user, image.config.user, files), volumes, devices, seccomp };
}
