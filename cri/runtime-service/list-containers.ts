import {
  Container as CriContainer,
  type ListContainersRequest,
} from '../../protos/gen/cri/runtime/v1/api.js';
import type { Container } from '../../runtime/container/types.js';
import { listEncoder } from '../encoded-list.js';
import { selectContainers } from '../filters.js';
import type { Call } from '../rpc.js';
import { toCriContainer } from '../translate/container-answer.js';

const encode = listEncoder((container: Container) => CriContainer.encode(toCriContainer(container)).finish());

/** Answers with bytes: each container is encoded once per state. */
export function listContainers({ filter }: ListContainersRequest, { runtime }: Call): Buffer {
  return encode(selectContainers(runtime, filter));
}
