import { startCluster, type Cluster } from './cluster.js';
import { workloadsSuite } from './workloads.suite.js';

/** A whole cluster of one node. */
describe('a cluster', () => {
  let cluster: Cluster;
  const of = (): Cluster => cluster;

  before(async () => {
    cluster = await startCluster();
  });
  after(async () => {
    await cluster?.end();
  });

  describe('workloads', () => workloadsSuite(of));
});
