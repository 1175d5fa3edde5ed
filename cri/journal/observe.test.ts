import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { ImageServiceService, RuntimeServiceService } from '../../protos/gen/cri/runtime/v1/api.js';
import { openLog } from '../log.js';
import { containerConfig, podConfig, testImage } from '../testing/fixtures.js';
import { type TestServer, ask, openTestServer, refusal } from '../testing/server.js';

describe('what is told of calls', () => {
  let server: TestServer;
  let stream: PassThrough;

  before(async () => {
    stream = new PassThrough({ encoding: 'utf8' });
    server = await openTestServer(openLog({ level: 'debug', format: 'json', stream }));
    server.runtime.putImage(testImage());
  });
  after(() => server.close());

  const logged = (): readonly Record<string, unknown>[] =>
    ((stream.read() as string | null) ?? '')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  const image = {
    image: 'r.example/x:1',
    annotations: {},
    userSpecifiedImage: '',
    runtimeHandler: '',
    imageRef: '',
  };
  const config = containerConfig({ envs: [{ key: 'KEY', value: Buffer.from('swordfish') }] });

  it('names the pod and the container on every line of the log, and in every entry', async () => {
    const { client } = server;
    const { podSandboxId } = await ask(client, RuntimeServiceService.runPodSandbox, {
      config: podConfig(),
      runtimeHandler: '',
    });
    const { containerId } = await ask(client, RuntimeServiceService.createContainer, {
      podSandboxId,
      config,
      sandboxConfig: podConfig(),
    });
    await ask(client, RuntimeServiceService.removeContainer, { containerId });
    const lines = logged().filter(({ message }) => message === 'rpc answered');
    const pod = { podSandboxId, pod: 'pod', namespace: 'default' };
    expect(lines.map(({ rpc }) => rpc)).to.deep.equal([
      'runPodSandbox',
      'createContainer',
      'removeContainer',
    ]);
    for (const line of lines) expect(line).to.include(pod);
    for (const line of lines.slice(1)) expect(line).to.include({ containerId, container: 'app' });
    const entries = server.services.journal.entries();
    expect(entries.map(({ what }) => what)).to.deep.equal([
      'run pod sandbox',
      'create container',
      'remove container',
    ]);
    for (const { subject } of entries) expect(subject.pod?.id).to.equal(podSandboxId);
    expect(entries.at(-1)?.subject).to.include({ id: containerId, name: 'app' });
  });

  it('names them on the line of a failure, and never a secret', async () => {
    const { client, images } = server;
    const auth = {
      username: 'somebody',
      password: 'hunter2',
      auth: Buffer.from('somebody:hunter2').toString('base64'),
      serverAddress: '',
      identityToken: 'identity-token',
      registryToken: 'registry-token',
    };
    await refusal(ask(images, ImageServiceService.pullImage, { image, auth, sandboxConfig: podConfig() }));
    const request = { podSandboxId: 'absent', config, sandboxConfig: podConfig() };
    await refusal(ask(client, RuntimeServiceService.createContainer, request));
    const [pull, create] = logged().filter(({ message }) => message === 'rpc failed');
    expect(pull).to.include({ rpc: 'pullImage', image: 'r.example/x:1', pod: 'pod', namespace: 'default' });
    expect(create).to.include({
      rpc: 'createContainer',
      podSandboxId: 'absent',
      pod: 'pod',
      container: 'app',
    });
    const told = JSON.stringify([pull, create, server.services.journal.entries()]);
    for (const secret of [...Object.values(auth), 'swordfish'])
      if (secret !== '') expect(told).not.to.contain(secret);
  });

  it('is nothing of lists and probes that succeed', async () => {
    const before = server.services.journal.entries().length;
    await ask(server.client, RuntimeServiceService.listContainers, { filter: undefined });
    expect(server.services.journal.entries()).to.have.length(before);
  });
});
