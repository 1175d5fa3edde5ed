import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { accountEntries, busyboxLayer, path as searchPath } from '../fixtures/busybox-image.js';
import {
  buildImage,
  buildLayer,
  manifestsOf,
  blobsOf,
  readBlob,
  type Blob,
  type BuiltImage,
  type BuiltLayer,
  type LayerEntry,
} from '../fixtures/image-builder.js';
import type { ImageServer } from '../fixtures/image-server.js';
import { kubernetesTool } from '../kubelet/places.js';
import { imagePrograms } from '../places.js';

/**
 * The images that the suite names (Kubernetes' test/utils/image/manifest.go, v1.36.3), built here: what a spec needs of an
 * image is in it, nothing more.
 */
export async function serveNodeImages(server: ImageServer): Promise<void> {
  const base = await busyboxLayer(program('busybox'));
  const pause = buildImage({ layers: [base], config: { Env: [searchPath], Cmd: ['sh', '-c', idle] } });
  const agnhost = await buildAgnhost(base, pause);
  const web = await buildWeb(base);
  const shell = (fields: object = {}): BuiltImage =>
    buildImage({ layers: [base], config: { Env: [searchPath], Cmd: ['sh'], ...fields } });
  const images: readonly (readonly [name: string, tags: readonly string[], image: BuiltImage])[] = [
    ['e2e-test-images/agnhost', ['2.63.0', '2.55'], agnhost],
    ['e2e-test-images/busybox', ['1.37.0-1'], shell()],
    ['e2e-test-images/glibc-dns-testing', ['2.0.0'], shell()],
    ['e2e-test-images/ipc-utils', ['1.4'], shell()],
    ['e2e-test-images/kitten', ['1.8'], await buildKitten(base)],
    ['e2e-test-images/nginx', ['1.15-4', '1.27-0'], web],
    ['e2e-test-images/nonewprivs', ['1.4'], await buildNoNewPrivileges(base)],
    ['e2e-test-images/nonroot', ['1.5'], shell({ User: '1234' })],
    ['e2e-test-images/sample-device-plugin', ['1.7'], await buildDevicePlugin(base)],
    ['pause', ['3.10.2'], pause],
  ];
  for (const [repository, tags, image] of images) for (const tag of tags) server.add(repository, tag, image);
}

const program = (name: string): string => path.join(imagePrograms, name);

/** Does nothing until it is told to end. */
const idle = 'trap exit TERM INT; while :; do sleep 3600 & wait; done';

/** Kubernetes' program for tests, with the tools that specs call beside it and the registry that it can play. */
async function buildAgnhost(base: BuiltLayer, pause: BuiltImage): Promise<BuiltImage> {
  const layer = await buildLayer(
    [
      { name: 'agnhost', mode: 0o755, content: await readFile(kubernetesTool('agnhost')) },
      { name: 'agnhost-2', linkname: 'agnhost' },
      ...(await Promise.all(['localhost.crt', 'localhost.key'].map(certificateFile))),
      { name: 'uploads/' },
      { name: 'usr/bin/curl', mode: 0o755, content: curl },
      ...(await machineProgram('/bin/bash')),
      ...accountEntries({
        passwd: ['user-defined-in-image:x:1000:1000::/home:/bin/sh'],
        group: ['user-defined-in-image:x:1000:', 'group-defined-in-image:x:50000:user-defined-in-image'],
      }),
      ...(await registryEntries('pause', 'testing', pause)),
    ],
    'none',
  );
  return buildImage({
    layers: [base, layer],
    config: { Env: [searchPath], Entrypoint: ['/agnhost'], Cmd: ['pause'] },
  });
}

async function certificateFile(name: string): Promise<LayerEntry> {
  return { name, content: await readFile(kubernetesTool(name)) };
}

/** A program of this machine with the libraries that it wants (man 1 ldd). */
async function machineProgram(file: string): Promise<readonly LayerEntry[]> {
  const { stdout } = await promisify(execFile)('ldd', [file]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, library = '']) => library);
  return Promise.all(
    [file, ...libraries].map(async (name) => ({
      name: name.slice(1),
      mode: 0o755,
      content: await readFile(name),
    })),
  );
}

/** What specs use of curl: the last word is the address, its answer is printed. */
const curl = `#!/bin/sh
for address; do :; done
exec wget -q -O - "$address"
`;

/** One image in the layout of `agnhost fake-registry-server`. */
async function registryEntries(name: string, tag: string, image: BuiltImage): Promise<readonly LayerEntry[]> {
  const top = `var/registry/${name}`;
  const entry = async (kind: string, blob: Blob): Promise<LayerEntry> => {
    const [algorithm = '', hash = ''] = blob.digest.split(':');
    const chunks = await readBlob(blob).toArray();
    return {
      name: `${top}/${kind}/${algorithm}/${hash.slice(0, 2)}/${hash}/data`,
      content: Buffer.concat(chunks as Buffer[]),
    };
  };
  const manifests = manifestsOf(image).map((blob) => entry('manifests', blob));
  const blobs = blobsOf(image).map((blob) => entry('blobs', blob));
  return [
    ...(await Promise.all([...manifests, ...blobs])),
    { name: `${top}/manifests/${tag}`, content: image.manifest.digest },
  ];
}

/** A web server that specs find under nginx's name. */
async function buildWeb(base: BuiltLayer): Promise<BuiltImage> {
  const layer = await buildLayer([
    { name: 'usr/sbin/' },
    { name: 'var/run/' },
    { name: 'usr/sbin/nginx', mode: 0o755, content: await readFile(program('web')) },
  ]);
  return buildImage({
    layers: [base, layer],
    config: { Env: [searchPath], Entrypoint: ['/usr/sbin/nginx', '80'], ExposedPorts: { '80/tcp': {} } },
  });
}

/** Tells who it runs as; set-uid root. */
async function buildNoNewPrivileges(base: BuiltLayer): Promise<BuiltImage> {
  const layer = await buildLayer([
    { name: 'usr/local/bin/nnp', mode: 0o4755, content: await readFile(program('nnp')) },
  ]);
  return buildImage({ layers: [base, layer], config: { Env: [searchPath], Cmd: ['nnp'] } });
}

/** Tells the kubelet of devices that there are not. */
async function buildDevicePlugin(base: BuiltLayer): Promise<BuiltImage> {
  const content = await readFile(kubernetesTool('sample-device-plugin'));
  const layer = await buildLayer([{ name: 'sampledeviceplugin', mode: 0o755, content }], 'none');
  const Entrypoint = ['/sampledeviceplugin', '-alsologtostderr'];
  return buildImage({ layers: [base, layer], config: { Env: [searchPath], Entrypoint } });
}

/** An image that is mounted as a volume: specs look at a file in its directory of data. */
async function buildKitten(base: BuiltLayer): Promise<BuiltImage> {
  const layer = await buildLayer([{ name: 'data/data.json', content: '{"image": "kitten.jpg"}\n' }]);
  return buildImage({ layers: [base, layer], config: { Env: [searchPath], Cmd: ['sh', '-c', idle] } });
}
