import { expect } from 'chai';
import { eventually } from '../eventually.js';
import { nodeReady, type Cluster } from './cluster.js';
import { containerOf, isReady, type Pod } from './objects.js';
import { apply, controller } from './workloads.suite.js';

const list = '/api/v1/namespaces/default/pods?labelSelector=app%3Dsteady';

/** Kubelet and Podwright die under load, one after the other and both at once: no container notices. */
export function restartsSuite(of: () => Cluster): void {
  before(async () => {
    const script = 'i=0; while :; do i=$((i+1)); echo $i; usleep 100000; done';
    const containers = [of().shell('main', script)];
    await apply(of(), controller({ kind: 'Deployment', name: 'steady', replicas: 10, containers }));
    await of().kubectl.run(['rollout', 'status', 'deployment/steady', '--timeout=90s']);
  });
  after(async () => {
    await of().kubectl.run(['delete', 'deployment/steady', '--cascade=foreground', '--timeout=60s']);
  });

  const victims: Readonly<Record<string, (cluster: Cluster) => Promise<void>>> = {
    kubelet: async ({ node }) => {
      await node.kubelet.end('SIGKILL');
      await node.kubelet.start();
    },
    Podwright: async ({ node }) => {
      await node.daemon.kill();
      await node.daemon.start();
    },
    both: async ({ node }) => {
      await Promise.all([node.kubelet.end('SIGKILL'), node.daemon.kill()]);
      await node.daemon.start();
      await node.kubelet.start();
    },
  };
  for (const [name, killAndStart] of Object.entries(victims)) {
    it(`kill -9 of ${name} while pods are being made`, async () => {
      const { api, kubectl, shell } = of();
      const before = await steadyPods(of());
      const load = controller({
        ...{ kind: 'Deployment', name: 'load', replicas: 12 },
        containers: [shell('main', 'exec sleep 1000')],
      });
      await apply(of(), load);
      await eventually(
        () => of().node.daemon.client.runtime.listPodSandbox(),
        ({ items }) => items.length > 13,
      );
      await killAndStart(of());
      await kubectl.run(['rollout', 'status', 'deployment/load', '--timeout=120s']);
      await nodeReady(api);
      const after = await steadyPods(of());
      expect(identities(after)).to.deep.equal(identities(before));
      for (const { metadata } of after) {
        const log = await kubectl.run(['logs', metadata.name]);
        const numbers = log.trim().split('\n').map(Number);
        expect(numbers).to.deep.equal(numbers.map((_, index) => index + 1));
      }
      await kubectl.run(['delete', 'deployment/load', '--cascade=foreground', '--timeout=90s']);
    });
  }
}

async function steadyPods({ api }: Cluster): Promise<readonly Pod[]> {
  const { items } = await eventually(
    () => api.get<{ items: readonly Pod[] }>(list),
    (seen) => seen.items.length === 10 && seen.items.every(isReady),
    60_000,
  );
  expect(items.filter(isReady)).to.have.length(10);
  return items;
}

function identities(pods: readonly Pod[]): readonly unknown[] {
  return pods
    .map((pod) => ({
      name: pod.metadata.name,
      id: containerOf(pod, 'main').containerID,
      restarts: containerOf(pod, 'main').restartCount,
    }))
    .sort((a, b) => a.name.localeCompare(b.name));
}
