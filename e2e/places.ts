import path from 'node:path';

/** The checkout; this file runs from dist/e2e. */
export const repository = path.resolve(import.meta.dirname, '../..');

/** What hack/setup.sh built or unpacked. */
export const cache = process.env['PODWRIGHT_CACHE'] ?? path.join(repository, '.cache');

/** crictl, critest and criu. */
export const tool = (name: string): string => path.join(cache, 'bin', name);

/** The CNI plugins. */
export const cniPlugins = path.join(cache, 'cni/bin');

/** The static programs that test images hold. */
export const imagePrograms = path.join(cache, 'image-programs');
