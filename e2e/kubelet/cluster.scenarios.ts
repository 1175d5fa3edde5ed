import { expect } from 'chai';
import { accessSuite } from './access.suite.js';
import { startCluster, type Cluster } from './cluster.js';
import { lifecycleSuite } from './lifecycle.suite.js';
import { probesSuite } from './probes.suite.js';
import { resourcesSuite } from './resources.suite.js';
import { restartsSuite } from './restarts.suite.js';
import { securitySuite } from './security.suite.js';
import { statsSuite } from './stats.suite.js';
import { topSuite } from './top.suite.js';
import { upkeepSuite } from './upkeep.suite.js';
import { volumesSuite } from './volumes.suite.js';
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
  describe('lifecycle', () => lifecycleSuite(of));
  describe('probes', () => probesSuite(of));
  describe('volumes', () => volumesSuite(of));
  describe('resources', () => resourcesSuite(of));
  describe('security', () => securitySuite(of));
  describe('access', () => accessSuite(of));
  describe('figures', () => {
    statsSuite(of);
    describe('for people', () => topSuite(of));
  });
  describe('upkeep', () => upkeepSuite(of));
  describe('restarts', () => restartsSuite(of));

  describe('with the gate PodAndContainerStatsFromCRI', () => {
    useGates(of, { PodAndContainerStatsFromCRI: true });
    statsSuite(of);
    describe('for people', () => topSuite(of));
  });

  describe('with the gate EventedPLEG', () => {
    // What it knows counts for five seconds: a change that comes with no event after it waits as long.
    useGates(of, { EventedPLEG: true });
    lifecycleSuite(of);
    it('has listened to events all the time', async () => {
      const metrics = await cluster.node.kubelet.rest.text('/metrics');
      expect(metrics).to.match(/^kubelet_evented_pleg_connection_success_count 1$/m);
      expect(metrics).to.not.match(/^kubelet_evented_pleg_connection_error_count [1-9]/m);
    });
  });
});

/** Starts the kubelet again with feature gates, and without them when the tests are over. */
function useGates(of: () => Cluster, featureGates: Readonly<Record<string, boolean>>): void {
  before(async () => {
    await of().node.kubelet.end();
    await of().node.kubelet.start({ featureGates });
  });
  after(async () => {
    await of().node.kubelet.end();
    await of().node.kubelet.start();
  });
}
