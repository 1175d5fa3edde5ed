import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { busyboxLayer, path as searchPath } from '../fixtures/busybox-image.js';
import { buildImage, buildLayer, type BuiltImage } from '../fixtures/image-builder.js';
import { imagePrograms } from '../places.js';
import { kubernetesTool } from './places.js';

/** A small distribution: one static busybox. */
export async function buildBusybox(): Promise<BuiltImage> {
  return buildImage({
    layers: [await busyboxLayer(path.join(imagePrograms, 'busybox'))],
    config: { Env: [searchPath], Cmd: ['sh'] },
  });
}

/** Kubernetes' own program for tests: serves HTTP and gRPC, fails probes, says what it was given. With a shell. */
export async function buildAgnhost(): Promise<BuiltImage> {
  const program = await buildLayer(
    [{ name: 'agnhost', mode: 0o755, content: await readFile(kubernetesTool('agnhost')) }],
    'none',
  );
  return buildImage({
    layers: [await busyboxLayer(path.join(imagePrograms, 'busybox')), program],
    config: { Env: [searchPath], Entrypoint: ['/agnhost'], Cmd: ['pause'] },
  });
}

/** A first process for the pods of runtimes that want an image for it. */
export async function buildPause(): Promise<BuiltImage> {
  return buildImage({
    layers: [await busyboxLayer(path.join(imagePrograms, 'busybox'))],
    config: { Env: [searchPath], Entrypoint: ['sleep', '1000000'] },
  });
}
