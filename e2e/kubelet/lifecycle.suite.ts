import { expect } from 'chai';
import type { Cluster } from './cluster.js';
import { containerOf, isReady, terminationOf } from './objects.js';

/** The order in which a pod's containers start and end, and what is said about their end. */
export function lifecycleSuite(of: () => Cluster): void {
  const shared = { volumes: [{ name: 'shared', emptyDir: {} }] };
  const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];

  it('runs init containers one after the other, and sidecars beside everything that follows', async () => {
    const { create, kubectl, pod, remove, shell } = of();
    const note = (word: string): string => `echo ${word} >>/shared/order`;
    const initContainers = [
      shell('first', note('first'), { volumeMounts }),
      shell(
        'sidecar',
        `${note('sidecar')}; trap '${note('sidecar-ends')}; exit 0' TERM; while :; do usleep 50000; done`,
        {
          volumeMounts,
          restartPolicy: 'Always',
          startupProbe: { exec: { command: ['grep', 'sidecar', '/shared/order'] }, periodSeconds: 1 },
        },
      ),
      shell('second', note('second'), { volumeMounts }),
    ];
    const main = shell('main', `${note('main')}; cat /shared/order; sleep 1`, { volumeMounts });
    await create('ordered', [main], { initContainers, restartPolicy: 'Never', ...shared });
    const done = await pod('ordered', ({ status }) => status.phase === 'Succeeded');
    expect(await kubectl.run(['logs', 'ordered', '-c', 'main'])).to.equal('first\nsidecar\nsecond\nmain\n');
    expect(terminationOf(done, 'sidecar')).to.include({ exitCode: 0, reason: 'Completed' });
    await remove('ordered');
  });

  it('starts nothing else while an init container fails', async () => {
    const { create, pod, remove, shell } = of();
    const initContainers = [shell('init', 'exit 9')];
    await create('stuck', [shell('main', 'true')], { initContainers, restartPolicy: 'Never' });
    const failed = await pod('stuck', ({ status }) => status.phase === 'Failed');
    expect(terminationOf(failed, 'init')?.exitCode).to.equal(9);
    expect(containerOf(failed, 'main').state.waiting?.reason).to.equal('PodInitializing');
    await remove('stuck');
  });

  it('shows what containers leave in their termination message, or their last words', async () => {
    const { create, pod, remove, shell } = of();
    await create(
      'messages',
      [
        shell('file', 'echo -n from the file >/dev/termination-log; exit 1'),
        shell('log', 'echo last words; exit 2', { terminationMessagePolicy: 'FallbackToLogsOnError' }),
      ],
      { restartPolicy: 'Never' },
    );
    const ended = await pod('messages', ({ status }) => status.phase === 'Failed');
    expect(terminationOf(ended, 'file')).to.include({
      exitCode: 1,
      reason: 'Error',
      message: 'from the file',
    });
    expect(terminationOf(ended, 'log')).to.include({ exitCode: 2, message: 'last words\n' });
    await remove('messages');
  });

  it('says why a container cannot start', async () => {
    const { create, pod, remove, images } = of();
    await create('impossible', [{ name: 'main', image: images.busybox, command: ['/no/such/program'] }], {
      restartPolicy: 'Never',
    });
    const failed = await pod('impossible', ({ status }) => status.phase === 'Failed');
    const termination = terminationOf(failed, 'main');
    expect(termination?.message)
      .to.contain('/no/such/program')
      .and.to.match(/no such file/i);
    expect([127, 128]).to.include(termination?.exitCode);
    await remove('impossible');
  });

  it('lets a container end by itself after SIGTERM, and kills it when its time is over', async () => {
    const { create, kubectl, pod, shell } = of();
    const spin = 'while :; do usleep 50000; done';
    const wanted = ['polite', 'deaf'];
    await create(
      'polite',
      [shell('polite', `trap 'exit 5' TERM; ${spin}`), shell('deaf', `trap '' TERM; ${spin}`)],
      { terminationGracePeriodSeconds: 3, restartPolicy: 'Never' },
    );
    await pod('polite', isReady);
    // It keeps the deleted pod until we have seen its end.
    const finalizer = JSON.stringify({ metadata: { finalizers: ['podwright.test/keep'] } });
    await kubectl.run(['patch', 'pod', 'polite', '--type=merge', '-p', finalizer]);
    await kubectl.run(['delete', 'pod', 'polite', '--wait=false']);
    const ended = await pod('polite', ({ status }) => status.phase === 'Failed');
    expect(terminationOf(ended, 'polite')).to.include({ exitCode: 5 });
    expect(terminationOf(ended, 'deaf')).to.include({ exitCode: 137 });
    const [polite, deaf] = wanted.map((name) => Date.parse(terminationOf(ended, name)?.finishedAt ?? ''));
    expect(((deaf ?? 0) - (polite ?? 0)) / 1000).to.be.within(2, 5);
    await kubectl.run(['patch', 'pod', 'polite', '--type=merge', '-p', '{"metadata":{"finalizers":null}}']);
  });

  it('runs the hooks after the start and before the end', async () => {
    const { kubectl, remove, run, shell } = of();
    const wait = 'until test -e /shared/stopped; do usleep 50000; done; cat /shared/stopped';
    const observer = shell(
      'observer',
      `trap '${wait}; usleep 500000; exit 0' TERM; while :; do usleep 50000; done`,
      { volumeMounts },
    );
    const main = shell('main', 'exec sleep 1000', {
      volumeMounts,
      lifecycle: {
        postStart: { exec: { command: ['sh', '-c', 'echo started >/shared/started'] } },
        preStop: { exec: { command: ['sh', '-c', 'echo stopping >/shared/stopped'] } },
      },
    });
    await run('hooked', [main, observer], { ...shared, terminationGracePeriodSeconds: 5 });
    expect(await kubectl.run(['exec', 'hooked', '-c', 'main', '--', 'cat', '/shared/started'])).to.equal(
      'started\n',
    );
    const follow = kubectl.run(['logs', '-f', 'hooked', '-c', 'observer']);
    await remove('hooked');
    expect(await follow).to.equal('stopping\n');
  });
}
