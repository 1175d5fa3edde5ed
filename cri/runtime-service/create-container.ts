import type {
  ContainerConfig,
  CreateContainerRequest,
  CreateContainerResponse,
} from '../../protos/gen/cri/runtime/v1/api.js';
import { Rollback } from '../../runtime/base/rollback.js';
import { RuntimeError, messageOf } from '../../runtime/errors.js';
import type { Image } from '../../runtime/image/types.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { findSandbox } from '../find.js';
import { type DeviceGrant, resolveDevices } from '../host-devices.js';
import { resolveVolumes } from '../host-volumes.js';
import { resolveImages } from '../image-volumes.js';
import { needKernel } from '../kernel-needs.js';
import { withFields } from '../log.js';
import type { Call } from '../rpc.js';
import { loadApparmor } from '../apparmor-profile.js';
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
import { type Handler, findHandler } from '../translate/handlers.js';
import { resolveUser } from '../translate/user.js';

/** Checks the request, looks at what it names on the host and in the image, and has the container made. */
export async function createContainer(
  { podSandboxId, config }: CreateContainerRequest,
  call: Call,
): Promise<CreateContainerResponse> {
  const { runtime, host, signal } = call;
  const log = withFields(call.log, { podSandboxId, container: config?.metadata?.name });
  if (config === undefined) throw refuse('config', 'is missing');
  const sandbox = findSandbox(runtime, podSandboxId);
  if (sandbox.state.phase !== 'ready') {
    throw new RuntimeError('FailedPrecondition', 'pod sandbox', {
      subject: sandbox.id,
      cause: 'is not ready',
    });
  }
  const handler = handlerOf(sandbox, call);
  findHandler('config.image.runtime_handler', config.image?.runtimeHandler ?? '', call.config.runtime);
  const wishes = toContainerWishes(config, podClientOf(sandbox), host, handler);
  await checkMounts(wishes, runtime);
  const image = runtime.images.get(wishes.image);
  if (image === undefined) {
    throw new RuntimeError('NotFound', 'image', { subject: quote(wishes.image), cause: 'is not present' });
  }
  const rollback = new Rollback();
  try {
    const findings = await lookAround(wishes, image, { ...call, log, config, handler, rollback });
    const bare = toContainerRequest(config, sandbox, host, findings);
    const request = { ...bare, spec: await runtime.cdi.inject(wishes.cdiDevices, bare.spec) };
    return { containerId: (await runtime.containers.create(request, signal)).id };
  } catch (error) {
    await rollback.run((step, undoError) =>
      log.warn('undo of a failed container failed', { step, error: messageOf(undoError) }),
    );
    throw error;
  }
}

/** The handler that the sandbox was made with: the configuration may have lost it since. */
function handlerOf({ id, request }: Sandbox, { config }: Call): Handler {
  try {
    return findHandler('runtime_handler', request.handler, config.runtime);
  } catch (error) {
    throw new RuntimeError('FailedPrecondition', 'pod sandbox', { subject: id, cause: error });
  }
}

/** Refuses what the kernel cannot do for the volumes. */
async function checkMounts({ volumes }: ContainerWishes, runtime: Call['runtime']): Promise<void> {
  if (volumes.some(({ recursiveReadOnly }) => recursiveReadOnly))
    await needKernel(runtime, 'recursiveReadOnlyMounts', 'config.mounts: recursive_read_only');
  if (volumes.some(({ idMaps }) => idMaps !== undefined))
    await needKernel(runtime, 'userNamespaces', 'config.mounts: uidMappings');
}

interface Surroundings extends Omit<Call, 'config'> {
  readonly config: ContainerConfig;
  readonly handler: Handler;
  readonly rollback: Rollback;
}

async function lookAround(
  wishes: ContainerWishes,
  image: Image,
  { config, handler, rollback, runtime, host, userDatabases, log }: Surroundings,
): Promise<ContainerFindings> {
  const capabilities = toCapabilities(
    config.linux?.securityContext?.capabilities,
    wishes.privileged,
    host.capabilities,
  );
  const chainId = image.layers.at(-1)?.chainId ?? '';
  const [files, devices, seccomp, apparmorProfile] = await Promise.all([
    userDatabases.of(chainId),
    resolveDevices(wishes.devices, toDeviceGrant(wishes, handler)),
    loadSeccomp(wishes.seccomp, capabilities.bounding ?? [], runtime.seccomp),
    loadApparmor(wishes.apparmor, runtime.apparmor, log),
  ]);
  const user = resolveUser(wishes.user, image.config.user, files);
  // Last, because it may make directories.
  const volumes = await resolveVolumes(await resolveImages(wishes.volumes, runtime), rollback);
  return { handler, image, user, volumes, devices, seccomp, apparmorProfile };
}

function toDeviceGrant({ privileged }: ContainerWishes, handler: Handler): DeviceGrant {
  const bare = handler.privilegedWithoutHostDevices;
  return { all: privileged && !bare, mayUseAll: privileged && bare && handler.privilegedMayUseAllDevices };
}
