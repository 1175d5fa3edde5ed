import type { RunPodSandboxRequest, RunPodSandboxResponse } from '../../protos/gen/cri/runtime/v1/api.js';
import { wrapCondition } from '../../runtime/errors.js';
import { makeHostDirectory } from '../host-directory.js';
import { readHostFiles } from '../host.js';
import { needKernel } from '../kernel-needs.js';
import type { Call } from '../rpc.js';
import { findHandler } from '../translate/handlers.js';
import { toLogDirectory } from '../translate/log-path.js';
import { neededHostFiles, toSandboxRequest } from '../translate/sandbox.js';

export async function runPodSandbox(
  { config, runtimeHandler }: RunPodSandboxRequest,
  { runtime, host, signal, config: settings }: Call,
): Promise<RunPodSandboxResponse> {
  const handler = findHandler('runtime_handler', runtimeHandler, settings.runtime);
  const directory = toLogDirectory(config?.logDirectory ?? '');
  const files = await readHostFiles(neededHostFiles(config));
  // Nothing needs it before the sandbox is ready, and it waits for the disk.
  const logDirectory = makeLogDirectory(directory);
  logDirectory.catch(() => undefined);
  try {
    const request = toSandboxRequest(config, handler, host, files);
    if (request.userNamespace !== undefined) {
      await needKernel(
        runtime,
        'userNamespaces',
        'config.linux.security_context.namespace_options.userns_options',
      );
    }
    const sandbox = await runtime.sandboxes.run(request, signal, logDirectory);
    return { podSandboxId: sandbox.id };
  } catch (error) {
    const undo = await logDirectory.catch(() => undefined);
    await undo?.();
    throw error;
  }
}

/** The kubelet makes it beforehand, crictl does not. */
async function makeLogDirectory(directory: string): Promise<() => Promise<void>> {
  if (directory === '') return async () => undefined;
  try {
    return await makeHostDirectory(directory);
  } catch (error) {
    throw wrapCondition('make log directory', error, directory);
  }
}
