import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { eventually } from '../eventually.js';
import { startNode, type Node } from './node.js';
import { containerOf, isReady, podSpec, type Pod } from './objects.js';

/** The kubelet alone, without an API server: it runs the pods of a directory. */
describe('a kubelet without a cluster', () => {
  let node: Node;

  before(async () => {
    node = await startNode();
  });
  after(async () => {
    if (node !== undefined) await rm(path.join(node.kubelet.manifests, 'static.json'));
    await node?.end();
  });

  const pods = async (): Promise<readonly Pod[]> =>
    (await node.kubelet.rest.get<{ items: readonly Pod[] | null }>('/pods')).items ?? [];

  it('runs a static pod, and serves its log', async () => {
    const script = 'echo hello from $HOSTNAME; exec sleep 1000';
    const container = { name: 'main', image: node.images.busybox, command: ['sh', '-c', script] };
    const manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'static' },
      spec: podSpec([container]),
    };
    await writeFile(path.join(node.kubelet.manifests, 'static.json'), JSON.stringify(manifest));
    const [pod] = await eventually(pods, (items) => items.some(isReady), 60_000);
    if (pod === undefined) throw new Error('there is no pod');
    expect(isReady(pod)).to.equal(true);
    expect(containerOf(pod, 'main').restartCount).to.equal(0);
    expect(pod.metadata.name).to.equal('static-node0');
    const log = await node.kubelet.rest.text('/containerLogs/default/static-node0/main');
    expect(log).to.equal('hello from static-node0\n');
  });
});
