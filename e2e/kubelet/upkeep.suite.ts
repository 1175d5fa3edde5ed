import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { eventually } from '../eventually.js';
import { buildImage, buildLayer } from '../fixtures/image-builder.js';
import type { Cluster } from './cluster.js';
import { isReady } from './objects.js';

/** What the kubelet does of its own accord: rotate logs, collect images. */
export function upkeepSuite(of: () => Cluster): void {
  it('rotates logs that have grown, and loses no line', async () => {
    const { create, kubectl, node, pod, remove, shell } = of();
    await node.kubelet.end();
    await node.kubelet.start({
      ...{ containerLogMaxSize: '100Ki', containerLogMaxFiles: 5, containerLogMonitorInterval: '3s' },
    });
    const script =
      'i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo "line $i"; [ $((i % 10)) = 0 ] && usleep 10000; done; exec sleep 1000';
    await create('talkative', [shell('main', script)]);
    const running = await pod('talkative', isReady);
    const logs = path.join(node.daemon.instance.scratch, 'pod-logs');
    const directory = path.join(logs, `default_talkative_${running.metadata.uid}`, 'main');
    const rotated = await eventually(
      () => readdir(directory),
      (names) => names.some((name) => /^0\.log\.\d+-\d+(\.gz)?$/.test(name)),
      30_000,
    );
    expect(rotated).to.include('0.log').and.to.have.length.of.at.least(2);
    const last = await eventually(
      () => kubectl.run(['logs', 'talkative', '--tail=1']),
      (text) => text === 'line 6000\n',
      60_000,
    );
    expect(last).to.equal('line 6000\n');
    const lines = await eventually(
      () => numbersIn(directory),
      (numbers) => numbers.length === 6000,
    );
    expect(lines).to.deep.equal(Array.from({ length: 6000 }, (_, index) => index + 1));
    await remove('talkative');
    await node.kubelet.end();
    await node.kubelet.start();
  });

  it('collects images that nothing uses when the disk is full, and no others', async function () {
    // The kubelet looks at its start and then every five minutes, and takes for new what it sees at its start.
    if (process.env['LONG'] !== '1') this.skip();
    this.timeout(400_000);
    const { create, images, node, pod, remove, run, shell } = of();
    const { server, daemon, kubelet } = node;
    const mark = await buildLayer([{ name: 'mark', content: 'unused' }]);
    server.add('test/unused', '1', buildImage({ layers: [mark] }));
    const unused = `${server.host}/test/unused:1`;
    await run('user', [shell('main', 'exec sleep 1000')]);
    await create('unusable', [{ name: 'main', image: unused, command: ['/mark'] }], {
      restartPolicy: 'Never',
    });
    await pod('unusable', ({ status }) => status.phase === 'Failed');
    await remove('unusable');
    const tags = async (): Promise<readonly string[]> =>
      (await daemon.client.image.listImages()).images.flatMap(({ repoTags }) => repoTags);
    expect(await tags())
      .to.include(unused)
      .and.include(images.busybox);
    await kubelet.end();
    await kubelet.start({
      imageGCHighThresholdPercent: 1,
      imageGCLowThresholdPercent: 0,
      imageMinimumGCAge: '1s',
    });
    const left = await eventually(tags, (names) => !names.includes(unused), 330_000);
    expect(left).to.include(images.busybox).and.not.include(unused);
    await kubelet.end();
    await kubelet.start();
    await remove('user');
  });
}

/** The numbers of the lines of a log and of everything that was rotated out of it, in order. */
async function numbersIn(directory: string): Promise<readonly number[]> {
  const names = await readdir(directory);
  const texts = await Promise.all(
    names.filter((name) => !name.endsWith('.tmp')).map((name) => content(path.join(directory, name))),
  );
  const numbers = texts.flatMap((text) =>
    [...text.matchAll(/line (\d+)$/gm)].map(([, number]) => Number(number)),
  );
  return numbers.sort((a, b) => a - b);
}

/** What is compressed or renamed just now is read at the next look. */
async function content(file: string): Promise<string> {
  const bytes = await readFile(file).catch(() => Buffer.alloc(0));
  return file.endsWith('.gz') ? gunzipSync(bytes).toString() : bytes.toString();
}
