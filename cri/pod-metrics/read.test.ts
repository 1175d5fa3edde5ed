import { expect } from 'chai';
import { RuntimeServiceService } from '../../protos/gen/cri/runtime/v1/api.js';
import { silentLogger } from '../../runtime/base/logger.js';
import { containerConfig, podConfig, testImage } from '../testing/fixtures.js';
import { type TestServer, ask, openTestServer } from '../testing/server.js';
import { commonLabels } from './families.js';

const { runPodSandbox, stopPodSandbox, createContainer, listPodSandboxMetrics } = RuntimeServiceService;

describe('the metrics of pods', () => {
  let server: TestServer;

  before(async () => {
    server = await openTestServer(silentLogger);
    server.runtime.putImage(testImage());
  });
  after(() => server.close());

  const list = async () => (await ask(server.client, listPodSandboxMetrics, {})).podMetrics;

  it('are there for ready sandboxes and containers that run', async () => {
    const ids: string[] = [];
    // More than are read at once.
    for (let index = 0; index < 40; index++) {
      const config = podConfig({
        metadata: { name: `pod-${index}`, uid: `${index}`, namespace: 'space', attempt: 0 },
      });
      const { podSandboxId } = await ask(server.client, runPodSandbox, { config, runtimeHandler: '' });
      ids.push(podSandboxId);
    }
    const [first = '', second = ''] = ids;
    const { containerId } = await ask(server.client, createContainer, {
      podSandboxId: first,
      config: containerConfig({ image: { image: testImage().id, userSpecifiedImage: 'test:1' } }),
      sandboxConfig: podConfig(),
    });
    await ask(server.client, stopPodSandbox, { podSandboxId: second });

    expect((await list()).map(({ podSandboxId }) => podSandboxId)).to.deep.equal(
      ids.filter((id) => id !== second),
    );
    expect((await list())[0]?.containerMetrics, 'of what has not been started').to.deep.equal([]);

    const init = { pid: 1, startTime: '0' };
    server.runtime.replaceContainer(containerId, {
      state: { phase: 'running', init, startedAtNs: 5_000_000_000n },
    });
    const [container] = (await list())[0]?.containerMetrics ?? [];
    expect(container?.containerId).to.equal(containerId);
    const started = container?.metrics.find(({ name }) => name === 'container_start_time_seconds');
    expect(started?.value?.value).to.equal(5n);
    expect(
      Object.fromEntries(commonLabels.map((key, index) => [key, started?.labelValues[index]])),
    ).to.deep.equal({
      id: '/test',
      name: containerId,
      image: 'test:1',
      container: 'app',
      namespace: 'space',
      pod: 'pod-0',
    });
  });
});
