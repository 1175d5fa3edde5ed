import { silentLogger } from '../base/logger.js';
import { openSnapshotter } from './index.js';
import { diffIdOf, tar } from './tar.fixture.js';
import { inPieces, unpackerPath } from './unpack.fixture.js';

/**
 * A whole life of a layer and a snapshot, to be killed at a failpoint:
 *   FAILPOINTS=NAME=crash node crash.fixture.js ROOT
 */
const [, , root = ''] = process.argv;
const store = await openSnapshotter({ root, logger: silentLogger, unpackerPath, bootId: 'boot' });
const content = tar({ path: 'f', content: 'x' });
const prepared = await store.layers.prepare({
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: 'sha256:blob',
  size: content.length,
  diffId: diffIdOf(content),
  chainId: 'chain',
  source: inPieces(content),
  signal: new AbortController().signal,
});
await store.layers.commit([prepared]);
await store.snapshots.prepare('c', 'chain');
await store.snapshots.remove('c');
await store.layers.remove('chain');
await store.close();
