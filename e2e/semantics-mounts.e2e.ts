import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import {
  type Bed,
  type Pod,
  containerConfig,
  createContainer,
  exec,
  exitOf,
  openBed,
  runContainer,
  runPod,
} from './bed.js';
import { readTexts } from './container-log.js';
import { refusal } from './refusal.js';

/** Mounts by the hundred, as projected volumes and secrets make them. */
describe('many mounts', () => {
  let bed: Bed;
  let pod: Pod;
  // As long as the kubelet's names are.
  const name = (index: number): string =>
    `pods/0f0c2a1e-6c0e-4a8e-9a53-7a2b0f6d1c22/volumes/kubernetes.io~projected/kube-api-access-${index}`;
  const mounts = (count: number) =>
    Array.from({ length: count }, (_, index) => ({
      hostPath: path.join(bed.daemon.instance.scratch, 'volumes', name(index % 1000)),
      containerPath: `/var/run/secrets/kubernetes.io/volumes/${index}`,
      readonly: index % 2 === 0,
    }));

  before(async () => {
    bed = await openBed();
    pod = await runPod(bed, 'pod');
    for (const { hostPath } of mounts(1000)) {
      await mkdir(hostPath, { recursive: true });
      await writeFile(path.join(hostPath, 'file'), path.basename(hostPath));
    }
  });
  after(async () => {
    await bed?.end();
  });

  it('are all there, a thousand of them', async () => {
    const script =
      'cd /var/run/secrets/kubernetes.io/volumes; cat */file | wc -c; touch 0/x 2>&1; touch 1/x && exec sleep 1000';
    const container = await runContainer(
      bed,
      pod,
      containerConfig(bed, 'many', script, { mounts: mounts(1000) }),
    );
    const length = mounts(1000).reduce((sum, { hostPath }) => sum + path.basename(hostPath).length, 0);
    const { stdout } = await exec(
      bed,
      container.id,
      'cat /var/run/secrets/kubernetes.io/volumes/*/file | wc -c',
    );
    expect(Number(stdout)).to.equal(length);
    await bed.daemon.client.runtime.stopContainer({ containerId: container.id, timeout: 0n });
    await exitOf(bed, container.id);
    expect((await readTexts(container.log)).join()).to.match(/^\d+,.*Read-only file system$/);
  });

  it('are refused beyond two thousand', async () => {
    const config = containerConfig(bed, 'more', 'exit 0', { mounts: mounts(2001) });
    const { code, details } = await refusal(createContainer(bed, pod, config));
    expect(details).to.match(/config\.mounts: must have at most 2000 entries, not 2001/);
    expect(code).to.equal(status.INVALID_ARGUMENT);
  });
});
