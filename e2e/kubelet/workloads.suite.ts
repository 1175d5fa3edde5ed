import { expect } from 'chai';
import { eventually } from '../eventually.js';
import type { Cluster } from './cluster.js';
import { containerOf, isReady, podSpec, type ContainerSpec, type Pod, type PodSpec } from './objects.js';

/** What controllers make of pods. */
export function workloadsSuite(of: () => Cluster): void {
  it('runs a Deployment, and replaces its pods when it changes', async () => {
    const { kubectl, shell } = of();
    const readinessProbe = { exec: { command: ['true'] }, periodSeconds: 1 };
    for (const version of ['one', 'two']) {
      const container = shell('main', `echo version ${version}; exec sleep 1000`, { readinessProbe });
      await apply(
        of(),
        controller({ kind: 'Deployment', name: 'web', replicas: 2, containers: [container] }),
      );
      await kubectl.run(['rollout', 'status', 'deployment/web', '--timeout=60s']);
    }
    // One of the replaced pods may be there for a moment yet.
    const log = await eventually(
      () => kubectl.run(['logs', 'deployment/web']),
      (text) => text === 'version two\n',
    );
    expect(log).to.equal('version two\n');
    await kubectl.run(['scale', 'deployment/web', '--replicas=0']);
  });

  it('runs a Job to its end, with a pod for each completion and again what failed', async () => {
    const { kubectl, shell } = of();
    const template = podSpec([shell('main', 'echo work; exit $((JOB_COMPLETION_INDEX == 1))')], {
      restartPolicy: 'Never',
    });
    const indexed = {
      ...{ completions: 3, parallelism: 3, completionMode: 'Indexed', backoffLimitPerIndex: 1 },
      template: { metadata: { labels: { app: 'indexed' } }, spec: template },
    };
    await apply(of(), { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'indexed' }, spec: indexed });
    await kubectl.run(['wait', 'job/indexed', '--for=condition=Failed', '--timeout=90s']);
    const { status } = JSON.parse(await kubectl.run(['get', 'job/indexed', '-o', 'json'])) as {
      readonly status: {
        readonly succeeded: number;
        readonly failed: number;
        readonly completedIndexes: string;
        readonly failedIndexes: string;
      };
    };
    expect(status).to.include({ succeeded: 2, failed: 2, completedIndexes: '0,2', failedIndexes: '1' });
  });

  it('runs a DaemonSet on the host network', async () => {
    const { kubectl, shell } = of();
    const containers = [shell('main', 'cat /proc/net/dev; exec sleep 1000')];
    await apply(
      of(),
      controller({ kind: 'DaemonSet', name: 'agent', containers, more: { hostNetwork: true } }),
    );
    await kubectl.run(['rollout', 'status', 'daemonset/agent', '--timeout=60s']);
    expect(await kubectl.run(['logs', 'daemonset/agent'])).to.contain('node0:');
    await kubectl.run(['delete', 'daemonset/agent', '--wait=false']);
  });

  it('starts a failing container again, waits longer each time, and keeps the log of the last one', async () => {
    const { create, kubectl, pod, remove, shell } = of();
    await create('crash', [shell('main', 'echo failing; exit 7')]);
    const waiting = await pod('crash', (seen) => {
      const container = seen.status.containerStatuses?.[0];
      return container?.state.waiting?.reason === 'CrashLoopBackOff' && container.restartCount >= 1;
    });
    const last = containerOf(waiting, 'main').lastState?.terminated;
    expect(last).to.include({ exitCode: 7, reason: 'Error' });
    // The kubelet keeps one ended container of each: just after the next attempt the one that it names may be gone.
    const log = await eventually(
      () => kubectl.outcome(['logs', 'crash', '--previous']),
      ({ stdout }) => stdout === 'failing\n',
    );
    expect(log).to.include({ code: 0, stdout: 'failing\n' });
    await remove('crash');
  });

  it('obeys restart policies', async () => {
    const { create, pod, remove, shell } = of();
    await create('never', [shell('main', 'exit 3')], { restartPolicy: 'Never' });
    await create(
      'on-failure',
      [shell('main', 'test -e /again/mark || { touch /again/mark; exit 4; }', mountAt('/again'))],
      {
        restartPolicy: 'OnFailure',
        volumes: [{ name: 'volume', emptyDir: {} }],
      },
    );
    const never = await pod('never', ({ status }) => status.phase === 'Failed');
    expect(containerOf(never, 'main')).to.deep.include({ restartCount: 0 });
    const onFailure = await pod('on-failure', ({ status }) => status.phase === 'Succeeded');
    expect(containerOf(onFailure, 'main').restartCount).to.equal(1);
    expect(containerOf(onFailure, 'main').state.terminated).to.include({ exitCode: 0, reason: 'Completed' });
    await remove('never');
    await remove('on-failure');
  });

  it('runs 60 pods at once, each with an address of its own', async () => {
    const { api, kubectl, shell } = of();
    const containers = [shell('main', 'exec sleep 1000')];
    await apply(of(), controller({ kind: 'Deployment', name: 'crowd', replicas: 60, containers }));
    await kubectl.run(['rollout', 'status', 'deployment/crowd', '--timeout=150s']);
    const list = '/api/v1/namespaces/default/pods?labelSelector=app%3Dcrowd';
    const { items } = await api.get<{ items: readonly Pod[] }>(list);
    expect(items.filter(isReady)).to.have.length(60);
    expect(new Set(items.map(({ status }) => status.podIP)).size).to.equal(60);
    expect(items.map((item) => containerOf(item, 'main').restartCount)).to.deep.equal(Array(60).fill(0));
    await kubectl.run(['delete', 'deployment/crowd', '--wait', '--cascade=foreground', '--timeout=120s']);
  });
}

const mountAt = (mountPath: string): { readonly volumeMounts: readonly unknown[] } => ({
  volumeMounts: [{ name: 'volume', mountPath }],
});

export async function apply({ kubectl }: Cluster, object: unknown): Promise<void> {
  await kubectl.run(['apply', '-f', '-'], JSON.stringify(object));
}

export interface Controller {
  readonly kind: 'Deployment' | 'DaemonSet';
  readonly name: string;
  readonly replicas?: number;
  readonly containers: readonly ContainerSpec[];
  /** Fields of the pods' spec. */
  readonly more?: Omit<PodSpec, 'containers'>;
}

/** A controller of pods with the label `app`. */
export function controller({ kind, name, replicas, containers, more }: Controller): unknown {
  return {
    ...{ apiVersion: 'apps/v1', kind, metadata: { name } },
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: podSpec(containers, more) },
    },
  };
}
