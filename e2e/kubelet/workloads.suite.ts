import { expect } from 'chai';
import type { Cluster } from './cluster.js';
import { podSpec } from './objects.js';

/** What controllers make of pods. */
export function workloadsSuite(of: () => Cluster): void {
  it('runs a Deployment, and replaces its pods when it changes', async () => {
    const { kubectl, shell } = of();
    const deployment = (version: string): string =>
      JSON.stringify({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'web' },
        spec: {
          replicas: 2,
          selector: { matchLabels: { app: 'web' } },
          template: {
            metadata: { labels: { app: 'web' } },
            spec: podSpec([
              shell('main', `echo version ${version}; exec sleep 1000`, {
                readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
              }),
            ]),
          },
        },
      });
    for (const version of ['one', 'two']) {
      await kubectl.run(['apply', '-f', '-'], deployment(version));
      await kubectl.run(['rollout', 'status', 'deployment/web', '--timeout=60s']);
    }
    const log = await kubectl.run(['logs', 'deployment/web']);
    expect(log).to.equal('version two\n');
  });
}
