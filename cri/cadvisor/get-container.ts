import type {
  Container as Answer,
  GetContainerRequest,
  GetContainerResponse,
} from '../../protos/gen/containerd/services/containers/v1/containers.js';
import type { Container } from '../../runtime/container/types.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import type { Spec } from '../../runtime/spec/types.js';
import type { Call } from '../rpc.js';
import { containerClientOf, podClientOf } from '../translate/client-record.js';
import { find } from './find.js';
import { toTimestamp } from './timestamp.js';

/** cAdvisor gives network figures to sandboxes alone. */
const kindLabel = 'io.cri-containerd.kind';

const specType = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';

/** Names, labels and environment of a container or sandbox. */
export function getContainer({ id }: GetContainerRequest, { runtime }: Call): GetContainerResponse {
  const { container, sandbox } = find(runtime, id);
  return { container: sandbox === undefined ? ofContainer(container) : ofSandbox(sandbox) };
}

function ofContainer({ id, request, createdAtNs, spec }: Container): Answer {
  const { labels, image } = containerClientOf({ id, request });
  return answer({
    id,
    labels: { ...labels, [kindLabel]: 'container' },
    image: image.userSpecifiedImage || image.image,
    spec,
    createdAtNs,
  });
}

/** A sandbox has no specification and no image, but cAdvisor reads both. */
function ofSandbox({ id, request, createdAtNs }: Sandbox): Answer {
  const { labels } = podClientOf({ id, request });
  const spec = { ociVersion: '1.2.0', process: { user: { uid: 0, gid: 0 }, cwd: '/', args: [], env: [] } };
  return answer({ id, labels: { ...labels, [kindLabel]: 'sandbox' }, image: '', spec, createdAtNs });
}

function answer({
  spec,
  createdAtNs,
  ...named
}: Pick<Answer, 'id' | 'labels' | 'image'> & {
  readonly spec: Pick<Spec, 'ociVersion' | 'process'>;
  readonly createdAtNs: bigint;
}): Answer {
  return {
    ...named,
    runtime: { name: 'podwright', options: undefined },
    spec: { typeUrl: specType, value: Buffer.from(JSON.stringify(spec)) },
    // Of that API there is no service that would take them.
    snapshotter: '',
    snapshotKey: '',
    createdAt: toTimestamp(createdAtNs),
    updatedAt: toTimestamp(createdAtNs),
  };
}
