import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { eventually } from '../eventually.js';
import type { Cluster } from './cluster.js';
import { isReady } from './objects.js';
import { apply } from './workloads.suite.js';

/** Volumes of the kinds that need nothing but the kubelet and the runtime. */
export function volumesSuite(of: () => Cluster): void {
  const inPod = (name: string, script: string): Promise<string> =>
    of().kubectl.run(['exec', name, '--', 'sh', '-c', script]);

  it('shows configuration, secrets and the downward API, as files and in the environment', async () => {
    const { remove, run, shell } = of();
    await apply(of(), object('ConfigMap', 'settings', { data: { colour: 'green', 'deep.txt': 'deep' } }));
    await apply(of(), object('Secret', 'keys', { stringData: { key: 'secret!' } }));
    const main = shell('main', 'exec sleep 1000', {
      env: [
        { name: 'COLOUR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'colour' } } },
        { name: 'KEY', valueFrom: { secretKeyRef: { name: 'keys', key: 'key' } } },
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
      ],
      volumeMounts: [
        { name: 'settings', mountPath: '/settings' },
        { name: 'settings', mountPath: '/one/file.txt', subPath: 'deep.txt' },
        { name: 'keys', mountPath: '/keys', readOnly: true },
        { name: 'all', mountPath: '/all' },
      ],
    });
    const volumes = [
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'keys', secret: { secretName: 'keys', defaultMode: 0o400 } },
      {
        name: 'all',
        projected: {
          sources: [
            { configMap: { name: 'settings', items: [{ key: 'colour', path: 'a/colour' }] } },
            { serviceAccountToken: { path: 'token', expirationSeconds: 3600 } },
            { downwardAPI: { items: [{ path: 'name', fieldRef: { fieldPath: 'metadata.name' } }] } },
          ],
        },
      },
    ];
    await run('configured', [main], { volumes });
    const script =
      'echo $COLOUR $KEY $NODE; cat /settings/colour /one/file.txt /keys/key /all/a/colour /all/name; wc -c </all/token; stat -Lc %a /keys/key; touch /keys/x';
    const { stdout, stderr } = await of().kubectl.outcome(['exec', 'configured', '--', 'sh', '-c', script]);
    expect(stdout).to.match(/^green secret! node0\ngreendeepsecret!greenconfigured\d{3,}\n400\n$/);
    expect(stderr).to.contain('Read-only file system');
    await remove('configured');
  });

  it('changes the files of a mounted ConfigMap when it changes', async () => {
    const { remove, run, shell } = of();
    await apply(of(), object('ConfigMap', 'changes', { data: { value: 'before' } }));
    const volumeMounts = [{ name: 'changes', mountPath: '/changes' }];
    await run('changes', [shell('main', 'exec sleep 1000', { volumeMounts })], {
      volumes: [{ name: 'changes', configMap: { name: 'changes' } }],
    });
    expect(await inPod('changes', 'cat /changes/value')).to.equal('before');
    await apply(of(), object('ConfigMap', 'changes', { data: { value: 'after' } }));
    const seen = await eventually(
      () => inPod('changes', 'cat /changes/value'),
      (value) => value === 'after',
      100_000,
    );
    expect(seen).to.equal('after');
    await remove('changes');
  });

  it('shares emptyDirs between containers, on disk and in memory, below a sub-path too', async () => {
    const { kubectl, pod, create, remove, shell } = of();
    const write =
      'echo disk >/disk/file; echo memory >/memory/file; df -T /memory | tail -1; stat -f -c %T /memory';
    const volumes = [
      { name: 'disk', emptyDir: {} },
      { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
    ];
    const initContainers = [
      shell('writer', write, {
        volumeMounts: [
          { name: 'disk', mountPath: '/disk', subPath: 'below/it' },
          { name: 'memory', mountPath: '/memory' },
        ],
      }),
    ];
    const read =
      'cat /disk/below/it/file /memory/file; dd if=/dev/zero of=/memory/big bs=1M count=2 2>&1 | head -1; sleep 1000';
    const main = shell('main', read, {
      volumeMounts: volumes.map(({ name }) => ({ name, mountPath: `/${name}` })),
    });
    await create('shares', [main], { initContainers, volumes });
    await pod('shares', isReady);
    const log = await eventually(
      () => kubectl.run(['logs', 'shares', '-c', 'main']),
      (text) => text.split('\n').length >= 4,
    );
    expect(log).to.equal("disk\nmemory\ndd: error writing '/memory/big': No space left on device\n");
    expect(await kubectl.run(['logs', 'shares', '-c', 'writer'])).to.contain('tmpfs');
    await remove('shares');
  });

  it('binds directories and files of the host, and passes mounts on where it is asked to', async () => {
    const { node, remove, run, shell } = of();
    const directory = path.join(node.daemon.instance.scratch, 'host-path');
    await mkdir(path.join(directory, 'inner'), { recursive: true });
    await writeFile(path.join(directory, 'file'), 'of the host');
    const volumes = [{ name: 'host', hostPath: { path: directory, type: 'Directory' } }];
    const mounter = shell(
      'mounter',
      'mount -t tmpfs none /host/inner && touch /host/inner/here && exec sleep 1000',
      {
        securityContext: { privileged: true },
        volumeMounts: [{ name: 'host', mountPath: '/host', mountPropagation: 'Bidirectional' }],
      },
    );
    const seer = shell('seer', 'exec sleep 1000', {
      volumeMounts: [{ name: 'host', mountPath: '/host', mountPropagation: 'HostToContainer' }],
    });
    await run('host', [mounter, seer], { volumes });
    const list = [
      'exec',
      'host',
      '-c',
      'seer',
      '--',
      'sh',
      '-c',
      'cat /host/file; ls /host/inner; echo new >/host/new',
    ];
    const seen = await eventually(
      () => of().kubectl.run(list),
      (text) => text.includes('here'),
    );
    expect(seen).to.equal('of the hosthere\n');
    expect(await readFile(path.join(directory, 'new'), 'utf8')).to.equal('new\n');
    await of().kubectl.run(['exec', 'host', '-c', 'mounter', '--', 'umount', '/host/inner']);
    await remove('host');
  });

  it('mounts an image as a volume', async () => {
    const { images, kubectl, remove, run, shell } = of();
    const volumes = [{ name: 'image', image: { reference: images.agnhost, pullPolicy: 'IfNotPresent' } }];
    const volumeMounts = [
      { name: 'image', mountPath: '/image' },
      { name: 'image', mountPath: '/etc-of-it', subPath: 'etc' },
    ];
    await run('image-volume', [shell('main', 'exec sleep 1000', { volumeMounts })], { volumes });
    const script = 'test -x /image/agnhost && echo there; head -1 /etc-of-it/passwd; touch /image/x';
    const { stdout, stderr } = await kubectl.outcome(['exec', 'image-volume', '--', 'sh', '-c', script]);
    expect(stdout).to.equal('there\nroot:x:0:0:root:/root:/bin/sh\n');
    expect(stderr).to.contain('Read-only file system');
    await remove('image-volume');
  });
}

function object(kind: string, name: string, fields: Readonly<Record<string, unknown>>): unknown {
  return { apiVersion: 'v1', kind, metadata: { name }, ...fields };
}
