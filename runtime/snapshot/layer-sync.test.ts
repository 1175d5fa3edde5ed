import { expect } from 'chai';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { silentLogger } from '../base/logger.js';
import { LayerSync } from './layer-sync.js';
import type { Layer, LayerRecord } from './layer-table.js';

describe('sync of layers', () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'podwright-sync-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function layer(name: string, more: Partial<LayerRecord> = { boot: 'boot' }): Promise<Layer> {
    await mkdir(path.join(root, name));
    const record: LayerRecord = {
      version: 1,
      chainId: `chain-${name}`,
      diffId: '',
      digest: '',
      bytes: 0,
      diskBytes: 0,
      inodes: 0,
      opaqueRoot: false,
      root: { mode: 0o755, uid: 0, gid: 0, plain: true },
      ...more,
    };
    return { name, record };
  }

  function open(sync: () => Promise<void>, isPresent = (): boolean => true): LayerSync {
    return new LayerSync({ layersPath: root, logger: silentLogger, sync, isPresent });
  }

  async function recordOf(name: string): Promise<Partial<LayerRecord> | undefined> {
    const text = await readFile(path.join(root, name, 'layer.json'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as Partial<LayerRecord>);
  }

  it('is one for all layers that wait, and then their records name no boot', async () => {
    let syncs = 0;
    const layers = open(async () => void (syncs += 1));
    layers.add([await layer('1')]);
    layers.add([await layer('2')]);
    await layers.flush();
    expect(syncs).to.equal(1);
    for (const name of ['1', '2']) {
      expect(await recordOf(name)).to.include({ chainId: `chain-${name}` });
      expect(await recordOf(name)).not.to.have.property('boot');
    }
    await layers.flush();
    expect(syncs).to.equal(1);
  });

  it('comes by itself', async () => {
    const waiting = await layer('1');
    await new Promise<void>((resolve) => open(async () => resolve()).add([waiting]));
  }).timeout(10_000);

  it('leaves the boot in the record of a layer that a failure may have cost something, for good', async () => {
    const failing = open(() => Promise.reject(new Error('EIO')));
    failing.add([await layer('1')]);
    await failing.flush();
    expect(await recordOf('1')).to.include({ boot: 'boot', syncFailed: true });
    let syncs = 0;
    const next = open(async () => void (syncs += 1));
    next.add([await layer('2', { boot: 'boot', syncFailed: true }), await layer('3', {})]);
    await next.flush();
    expect([syncs, await recordOf('2')]).to.deep.equal([0, undefined]);
  });

  it('passes over a layer that was removed, before and meanwhile', async () => {
    const gone = await layer('1');
    let present = true;
    const layers = open(
      async () => {
        present = false;
        await rm(path.join(root, '1'), { recursive: true });
      },
      () => present,
    );
    layers.add([gone]);
    await layers.flush();
    expect(await recordOf('1')).to.equal(undefined);
    layers.add([gone]);
    await layers.flush();
  });
});
