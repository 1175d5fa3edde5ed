import { type Client, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { Status } from '../../protos/gen/containerd/v1/types/task.js';
import { RuntimeServiceService } from '../../protos/gen/cri/runtime/v1/api.js';
import { silentLogger } from '../../runtime/base/logger.js';
import { containerConfig, podConfig, testImage } from '../testing/fixtures.js';
import { type TestServer, ask, openTestServer, refusal } from '../testing/server.js';
import { ContainersService, TasksService, VersionService } from './index.js';

describe('the calls of cAdvisor', () => {
  let server: TestServer;
  let client: Client;
  let sandboxId: string;
  let containerId: string;
  const labels = { 'io.kubernetes.pod.name': 'pod', 'io.kubernetes.pod.namespace': 'default' };

  before(async () => {
    server = await openTestServer(silentLogger);
    ({ client } = server);
    server.runtime.putImage(testImage());
    const config = podConfig({ labels });
    const { runPodSandbox, createContainer } = RuntimeServiceService;
    const pod = await ask(client, runPodSandbox, { config, runtimeHandler: '' });
    sandboxId = pod.podSandboxId;
    const request = {
      podSandboxId: sandboxId,
      config: containerConfig({ labels: { 'io.kubernetes.container.name': 'app' } }),
      sandboxConfig: config,
    };
    ({ containerId } = await ask(client, createContainer, request));
  });
  after(() => server.close());

  it('say that somebody is there', async () => {
    const answer = await ask(client, VersionService.version, {});
    expect(answer).to.deep.equal({ version: '0.0.0-test', revision: '' });
  });

  it('name a container', async () => {
    const { container } = await ask(client, ContainersService.get, { id: containerId });
    expect(container).to.include({ id: containerId, image: 'docker.io/library/test:1' });
    expect(container?.labels).to.deep.equal({
      'io.kubernetes.container.name': 'app',
      'io.cri-containerd.kind': 'container',
    });
    const spec = JSON.parse(Buffer.from(container?.spec?.value ?? []).toString()) as object;
    expect(spec).to.have.nested.property('process.args');
  });

  it('read an environment wherever they look for one', async () => {
    for (const id of [sandboxId, containerId]) {
      const { container } = await ask(client, ContainersService.get, { id });
      const spec: unknown = JSON.parse(Buffer.from(container?.spec?.value ?? []).toString());
      expect(spec).to.have.nested.property('process');
    }
  });

  it('name states and processes', async () => {
    const stateOf = async (id: string) =>
      (await ask(client, TasksService.get, { containerId: id, execId: '' })).process;
    expect(await stateOf(containerId)).to.include({ id: containerId, pid: 1, status: Status.CREATED });
    const init = { pid: 77, startTime: '0' };
    server.runtime.replaceContainer(containerId, { state: { phase: 'running', init, startedAtNs: 1n } });
    expect(await stateOf(containerId)).to.include({ pid: 77, status: Status.RUNNING });
    server.runtime.replaceContainer(containerId, { state: { phase: 'paused', init, startedAtNs: 1n } });
    expect(await stateOf(containerId)).to.include({ pid: 77, status: Status.PAUSED });
    server.runtime.replaceContainer(containerId, { state: { phase: 'creating' } });
    expect(await stateOf(containerId)).to.include({ pid: 0, status: Status.UNKNOWN });
    const exit = {
      code: 3,
      signal: 0,
      oomKilled: false,
      startedAtNs: 1n,
      finishedAtNs: 2_000_000_005n,
      reason: 'Error',
      message: '',
    };
    server.runtime.replaceContainer(containerId, { state: { phase: 'exited', exit } });
    const ended = await stateOf(containerId);
    expect(ended).to.include({ pid: 0, status: Status.STOPPED, exitStatus: 3 });
    expect(ended?.exitedAt).to.deep.equal({ seconds: 2n, nanos: 5 });
  });

  it('know whole ids only', async () => {
    for (const id of ['', sandboxId.slice(0, 12), 'f'.repeat(64)]) {
      expect((await refusal(ask(client, ContainersService.get, { id }))).code).to.equal(status.NOT_FOUND);
      const task = ask(client, TasksService.get, { containerId: id, execId: '' });
      expect((await refusal(task)).code).to.equal(status.NOT_FOUND);
    }
  });

  for (const path of [
    '/containerd.services.containers.v1.Containers/List',
    '/containerd.services.tasks.v1.Tasks/Kill',
    '/containerd.services.images.v1.Images/List',
    '/containerd.services.namespaces.v1.Namespaces/List',
  ]) {
    it(`are all there is: ${path} is unimplemented`, async () => {
      const call = ask(client, { ...VersionService.version, path }, {});
      expect((await refusal(call)).code).to.equal(status.UNIMPLEMENTED);
    });
  }

  it('do not know what was executed in a container', async () => {
    const call = ask(client, TasksService.get, { containerId, execId: 'exec' });
    expect((await refusal(call)).code).to.equal(status.UNIMPLEMENTED);
  });
});
