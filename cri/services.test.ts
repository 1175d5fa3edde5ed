import { mkdtemp, readdir, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import {
  ContainerState,
  ContainerStateValue,
  ImageServiceService,
  RuntimeServiceService,
  type ContainerFilter,
  PodSandboxState,
} from '../protos/gen/cri/runtime/v1/api.js';
import { silentLogger } from '../runtime/base/logger.js';
import { containerConfig, podConfig, testImage } from './testing/fixtures.js';
import { type TestServer, ask, openTestServer, refusal } from './testing/server.js';

describe('the services over a runtime in memory', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await openTestServer(silentLogger);
    server.runtime.putImage(testImage());
  });
  afterEach(() => server.close());

  async function runPod(name = 'pod', labels: Record<string, string> = {}): Promise<string> {
    const { client } = server;
    const config = podConfig({ metadata: { name, uid: 'u', namespace: 'ns', attempt: 0 }, labels });
    return (await ask(client, RuntimeServiceService.runPodSandbox, { config, runtimeHandler: '' }))
      .podSandboxId;
  }

  async function create(
    podSandboxId: string,
    name = 'app',
    labels: Record<string, string> = {},
  ): Promise<string> {
    const { client } = server;
    const config = containerConfig({ metadata: { name }, labels, logPath: `${name}.log` });
    return (
      await ask(client, RuntimeServiceService.createContainer, {
        podSandboxId,
        config,
        sandboxConfig: undefined,
      })
    ).containerId;
  }

  it('say who they are', async () => {
    const { client } = server;
    expect(await ask(client, RuntimeServiceService.version, { version: '' })).to.deep.equal({
      version: '0.1.0',
      runtimeName: 'podwright',
      runtimeVersion: '0.0.0-test',
      runtimeApiVersion: 'v1',
    });
    const {
      status: conditions,
      runtimeHandlers,
      features,
      info,
    } = await ask(client, RuntimeServiceService.status, { verbose: true });
    expect(conditions?.conditions.map(({ type, status: is }) => [type, is])).to.deep.equal([
      ['RuntimeReady', true],
      ['NetworkReady', false],
    ]);
    expect(runtimeHandlers).to.deep.equal([
      { name: '', features: { recursiveReadOnlyMounts: true, userNamespaces: true } },
    ]);
    expect(features).to.deep.equal({
      supplementalGroupsPolicy: true,
      userNamespacesHostNetwork: true,
      mountOptions: true,
    });
    expect(JSON.parse(info['info'] ?? '')).to.have.nested.property('config.network.conf_dir');
    expect(await ask(client, RuntimeServiceService.runtimeConfig, {})).to.deep.equal({
      linux: { cgroupDriver: 1 },
    });
  });

  it('list sandboxes by id, prefix, state and label', async () => {
    const { client } = server;
    const [first, second] = [await runPod('one', { app: 'a' }), await runPod('two', { app: 'b', tier: 'x' })];
    await ask(client, RuntimeServiceService.stopPodSandbox, { podSandboxId: second });
    const list = async (filter: object) => {
      const asked = { id: '', state: undefined, labelSelector: {}, ...filter };
      return (await ask(client, RuntimeServiceService.listPodSandbox, { filter: asked })).items.map(
        ({ id }) => id,
      );
    };
    expect(await list({})).to.deep.equal([first, second]);
    expect(await list({ id: first })).to.deep.equal([first]);
    expect(await list({ id: first.slice(0, 2) })).to.deep.equal([first]);
    expect(await list({ id: '0' }), 'an ambiguous prefix').to.deep.equal([]);
    expect(await list({ state: { state: PodSandboxState.SANDBOX_NOTREADY } })).to.deep.equal([second]);
    expect(await list({ labelSelector: { app: 'a' } })).to.deep.equal([first]);
    expect(await list({ labelSelector: { app: 'b', tier: 'y' } })).to.deep.equal([]);
    expect(await list({ id: first, labelSelector: { app: 'b' } })).to.deep.equal([]);
    expect(
      (await ask(client, RuntimeServiceService.listPodSandbox, { filter: undefined })).items,
    ).to.have.length(2);
  });

  it('list containers by id, sandbox, state and label', async () => {
    const { client } = server;
    const [pod, other] = [await runPod('one'), await runPod('two')];
    const [first, second] = [await create(pod, 'a', { app: 'a' }), await create(other, 'b', { app: 'b' })];
    server.runtime.replaceContainer(second, {
      state: { phase: 'running', init: { pid: 2, startTime: '0' }, startedAtNs: 7n },
    });
    const list = async (filter: Partial<ContainerFilter>) => {
      const asked = { id: '', state: undefined, podSandboxId: '', labelSelector: {}, ...filter };
      return (await ask(client, RuntimeServiceService.listContainers, { filter: asked })).containers.map(
        ({ id }) => id,
      );
    };
    const state = (value: ContainerState) => ContainerStateValue.create({ state: value });
    expect(await list({})).to.deep.equal([first, second]);
    expect(await list({ podSandboxId: other.slice(0, 2) })).to.deep.equal([second]);
    expect(await list({ podSandboxId: 'nope' })).to.deep.equal([]);
    expect(await list({ state: state(ContainerState.CONTAINER_RUNNING) })).to.deep.equal([second]);
    expect(await list({ state: state(ContainerState.CONTAINER_CREATED) })).to.deep.equal([first]);
    expect(await list({ labelSelector: { app: 'b' } })).to.deep.equal([second]);
    expect(await list({ labelSelector: { toString: 'b' } })).to.deep.equal([]);
  });

  it('show a container as it is', async () => {
    const { client } = server;
    const pod = await runPod();
    const id = await create(pod, 'app', { app: 'x' });
    const ended = { code: 137, signal: 9, oomKilled: true, startedAtNs: 5n, finishedAtNs: 9n };
    server.runtime.replaceContainer(id, {
      state: { phase: 'exited', exit: { ...ended, reason: 'OOMKilled', message: 'out of memory' } },
    });
    const { status: shown, info } = await ask(client, RuntimeServiceService.containerStatus, {
      containerId: id.slice(0, 5),
      verbose: true,
    });
    expect(shown).to.deep.include({
      id,
      state: ContainerState.CONTAINER_EXITED,
      exitCode: 137,
      reason: 'OOMKilled',
      message: 'out of memory',
      startedAt: 5n,
      finishedAt: 9n,
      imageId: testImage().id,
      imageRef: testImage().repoDigests[0],
      logPath: '/var/log/pods/pod/app.log',
      labels: { app: 'x' },
    });
    expect(shown?.user).to.deep.equal({ linux: { uid: 0n, gid: 0n, supplementalGroups: [0n] } });
    expect(JSON.parse(info['info'] ?? '')).to.include({ sandboxID: pod, name: 'app_pod_ns_u_0' });
  });

  it('hide what is still being made', async () => {
    const { client } = server;
    const id = await create(await runPod());
    server.runtime.replaceContainer(id, { state: { phase: 'creating' } });
    expect(
      (await ask(client, RuntimeServiceService.listContainers, { filter: undefined })).containers,
    ).to.deep.equal([]);
    const error = await refusal(
      ask(client, RuntimeServiceService.containerStatus, { containerId: id, verbose: false }),
    );
    expect(error.code).to.equal(status.NOT_FOUND);
  });

  it('stop and remove twice, and what never was', async () => {
    const { client } = server;
    const pod = await runPod();
    const id = await create(pod);
    for (const containerId of [id, id, 'never']) {
      await ask(client, RuntimeServiceService.stopContainer, { containerId, timeout: 0n });
      await ask(client, RuntimeServiceService.removeContainer, { containerId });
    }
    for (const podSandboxId of [pod, pod, 'never']) {
      await ask(client, RuntimeServiceService.stopPodSandbox, { podSandboxId });
      await ask(client, RuntimeServiceService.removePodSandbox, { podSandboxId });
    }
    await ask(server.images, ImageServiceService.removeImage, { image: imageSpec('never') });
    expect(
      (await ask(client, RuntimeServiceService.listPodSandbox, { filter: undefined })).items,
    ).to.deep.equal([]);
  });

  it('answer each bad request with its code', async () => {
    const { client, images } = server;
    const pod = await runPod();
    const id = await create(pod);
    const config = containerConfig();
    const absent = 'f'.repeat(64);
    const { INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION } = status;
    const expectCode = async (call: Promise<unknown>, code: status, text: RegExp): Promise<void> => {
      const error = await refusal(call);
      expect([error.code, error.details]).to.satisfy(
        ([is, details]: [status, string]) => is === code && text.test(details),
        `${error.code} ${error.details}`,
      );
    };
    await expectCode(
      ask(client, RuntimeServiceService.runPodSandbox, { config: undefined, runtimeHandler: '' }),
      INVALID_ARGUMENT,
      /config/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.podSandboxStatus, { podSandboxId: absent, verbose: false }),
      NOT_FOUND,
      /no such pod/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.containerStatus, { containerId: absent, verbose: false }),
      NOT_FOUND,
      /no such cont/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.containerStatus, { containerId: '', verbose: false }),
      INVALID_ARGUMENT,
      /container_id/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.stopContainer, { containerId: '', timeout: 0n }),
      INVALID_ARGUMENT,
      /container_id/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.removePodSandbox, { podSandboxId: '' }),
      INVALID_ARGUMENT,
      /pod_sandbox_id/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.startContainer, { containerId: absent }),
      NOT_FOUND,
      /no such container/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.execSync, { containerId: id, cmd: [], timeout: 0n }),
      INVALID_ARGUMENT,
      /cmd/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.updateContainerResources, {
        containerId: id,
        linux: undefined,
        windows: undefined,
        annotations: {},
      }),
      INVALID_ARGUMENT,
      /linux: is missing/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.checkpointContainer, {
        containerId: id,
        location: 'x.tar',
        timeout: 0n,
      }),
      INVALID_ARGUMENT,
      /location: must be an absolute path/,
    );
    await expectCode(
      ask(client, RuntimeServiceService.createContainer, {
        podSandboxId: absent,
        config,
        sandboxConfig: undefined,
      }),
      NOT_FOUND,
      /no such pod sandbox/,
    );
    const other = containerConfig({ image: { image: 'docker.io/library/absent:1' } });
    await expectCode(
      ask(client, RuntimeServiceService.createContainer, {
        podSandboxId: pod,
        config: other,
        sandboxConfig: undefined,
      }),
      NOT_FOUND,
      /image "docker.io\/library\/absent:1": is not present/,
    );
    await ask(client, RuntimeServiceService.stopPodSandbox, { podSandboxId: pod });
    await expectCode(
      ask(client, RuntimeServiceService.createContainer, {
        podSandboxId: pod,
        config,
        sandboxConfig: undefined,
      }),
      FAILED_PRECONDITION,
      /is not ready/,
    );
    await expectCode(
      ask(images, ImageServiceService.imageStatus, { image: undefined, verbose: false }),
      INVALID_ARGUMENT,
      /image/,
    );
  });

  it('leave no directory of the host behind when they refuse', async () => {
    const scratch = await mkdtemp(path.join(os.tmpdir(), 'pw-services-'));
    const mounts = [{ containerPath: '/data', hostPath: path.join(scratch, 'volume/deep') }];
    const podSandboxId = await runPod();
    const create = (command: string[]) =>
      ask(server.client, RuntimeServiceService.createContainer, {
        podSandboxId,
        config: containerConfig({ mounts, command }),
        sandboxConfig: undefined,
      });
    expect((await refusal(create(['']))).code).to.equal(status.INVALID_ARGUMENT);
    expect(await readdir(scratch)).to.deep.equal([]);
    await create(['/bin/true']);
    expect(await readdir(path.join(scratch, 'volume'))).to.deep.equal(['deep']);
    await rm(scratch, { recursive: true });
  });

  it('show an image, and an absent one as nothing', async () => {
    const { images } = server;
    const { image } = await ask(images, ImageServiceService.imageStatus, {
      image: imageSpec('docker.io/library/test:1'),
      verbose: true,
    });
    expect(image).to.deep.include({ id: testImage().id, size: 1234n, pinned: false });
    const none = await ask(images, ImageServiceService.imageStatus, {
      image: imageSpec('nope'),
      verbose: false,
    });
    expect(none.image).to.equal(undefined);
    const listed = await ask(images, ImageServiceService.listImages, {
      filter: { image: imageSpec('nope') },
    });
    expect(listed.images).to.deep.equal([]);
  });

  it('answer a stats list for what has figures', async () => {
    const { client } = server;
    const id = await create(await runPod(), 'a', { app: 'a' });
    const { stats } = await ask(client, RuntimeServiceService.listContainerStats, { filter: undefined });
    expect(stats.map(({ attributes }) => attributes)).to.deep.equal([
      { id, metadata: { name: 'a', attempt: 0 }, labels: { app: 'a' }, annotations: {} },
    ]);
  });
});

function imageSpec(image: string) {
  return { image, annotations: {}, userSpecifiedImage: '', runtimeHandler: '', imageRef: '' };
}
