import { expect } from 'chai';
import type { Cluster } from './cluster.js';
import { containerOf, isReady, type ContainerSpec } from './objects.js';

/** The kubelet's probes: http, tcp and grpc go to the pod's address, exec goes through the runtime. */
export function probesSuite(of: () => Cluster): void {
  it('finds pods ready by http, tcp, grpc and exec', async () => {
    const { create, images, pod, remove } = of();
    const server = (name: string, args: readonly string[], readinessProbe: object): ContainerSpec => ({
      ...{ name, image: images.agnhost, args },
      readinessProbe: { ...readinessProbe, periodSeconds: 1 },
    });
    await create('ready', [
      server('http', ['netexec', '--http-port=8081', '--udp-port=-1'], {
        httpGet: { path: '/hostname', port: 8081 },
      }),
      server('tcp', ['netexec', '--http-port=8082', '--udp-port=-1'], { tcpSocket: { port: 8082 } }),
      server('grpc', ['grpc-health-checking', '--port=5000', '--http-port=8083'], { grpc: { port: 5000 } }),
      server('exec', ['pause'], { exec: { command: ['sh', '-c', 'test -x /agnhost'] } }),
    ]);
    const ready = await pod('ready', isReady);
    for (const name of ['http', 'tcp', 'grpc', 'exec']) {
      expect(containerOf(ready, name)).to.include({ ready: true, started: true, restartCount: 0 });
    }
    await remove('ready');
  });

  it('says that a pod is not ready for as long as its probe fails', async () => {
    const { kubectl, pod, remove, run, shell } = of();
    const readinessProbe = {
      exec: { command: ['test', '-e', '/tmp/ready'] },
      periodSeconds: 1,
      failureThreshold: 1,
    };
    await run('turns', [shell('main', 'touch /tmp/ready; exec sleep 1000', { readinessProbe })]);
    await kubectl.run(['exec', 'turns', '--', 'rm', '/tmp/ready']);
    const unready = await pod('turns', (seen) => !isReady(seen));
    expect(containerOf(unready, 'main').restartCount).to.equal(0);
    await kubectl.run(['exec', 'turns', '--', 'touch', '/tmp/ready']);
    await pod('turns', isReady);
    await remove('turns');
  });

  it('starts a container again whose liveness probe fails or takes too long', async () => {
    const { create, images, pod, remove, shell } = of();
    const once = { periodSeconds: 1, failureThreshold: 1 };
    const containers = [
      shell('exec', 'exec sleep 1000', { livenessProbe: { exec: { command: ['false'] }, ...once } }),
      shell('hangs', 'exec sleep 1000', {
        livenessProbe: { exec: { command: ['sleep', '100'] }, timeoutSeconds: 1, ...once },
      }),
      {
        ...{ name: 'http', image: images.agnhost, args: ['netexec', '--http-port=8081', '--udp-port=-1'] },
        // It does not feel well without its UDP port.
        livenessProbe: { httpGet: { path: '/healthz', port: 8081 }, ...once },
      },
    ];
    await create('unhealthy', containers);
    const restarted = await pod(
      'unhealthy',
      ({ status }) =>
        status.containerStatuses?.length === 3 &&
        status.containerStatuses.every(({ restartCount }) => restartCount > 0),
    );
    const ends = restarted.status.containerStatuses?.map(({ name, lastState }) => [
      name,
      lastState?.terminated?.exitCode,
    ]);
    // sleep as process 1 is deaf to SIGTERM; agnhost ends by itself.
    expect(Object.fromEntries(ends ?? [])).to.deep.equal({ exec: 137, hangs: 137, http: 0 });
    await remove('unhealthy');
  });

  it('asks nothing else before a startup probe has succeeded', async () => {
    const { pod, remove, create, shell } = of();
    const containers = [
      shell('main', 'sleep 3; touch /tmp/started; exec sleep 1000', {
        startupProbe: {
          exec: { command: ['test', '-e', '/tmp/started'] },
          periodSeconds: 1,
          failureThreshold: 30,
        },
        livenessProbe: {
          exec: { command: ['test', '-e', '/tmp/started'] },
          periodSeconds: 1,
          failureThreshold: 1,
        },
      }),
    ];
    await create('slow', containers);
    const started = await pod('slow', isReady);
    expect(containerOf(started, 'main')).to.include({ started: true, restartCount: 0 });
    await remove('slow');
  });
}
