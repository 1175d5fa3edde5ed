import { type ListPodSandboxRequest, PodSandbox } from '../../protos/gen/cri/runtime/v1/api.js';
import type { Sandbox } from '../../runtime/sandbox/types.js';
import { listEncoder } from '../encoded-list.js';
import { selectSandboxes } from '../filters.js';
import type { Call } from '../rpc.js';
import { toCriSandbox } from '../translate/sandbox-answer.js';

const encode = listEncoder((sandbox: Sandbox) => PodSandbox.encode(toCriSandbox(sandbox)).finish());

/** Answers with bytes: each sandbox is encoded once per state. */
export function listPodSandbox({ filter }: ListPodSandboxRequest, { runtime }: Call): Buffer {
  return encode(selectSandboxes(runtime, filter));
}
