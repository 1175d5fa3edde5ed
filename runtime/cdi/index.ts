import { RuntimeError, wrapError } from '../errors.js';
import type { Spec } from '../spec/types.js';
import type { CdiDocument, ContainerEdits } from './document.js';
import { applyEdits } from './edits.js';
import { parseDeviceName } from './names.js';
import { type SpecFile, SpecFiles } from './spec-files.js';

/** Devices that vendors describe in files: the Container Device Interface. */
export interface CdiDevices {
  /**
   * The spec with everything that these devices need. What the files of several devices share is applied once.
   *
   * @throws InvalidArgument (no device name), FailedPrecondition (no such device, or one that cannot be used),
   * Unimplemented (hooks and other edits that we do not do)
   */
  inject(names: readonly string[], spec: Spec): Promise<Spec>;
}

/** @param directories a later one overrides an earlier one */
export function openCdi({ directories }: { readonly directories: readonly string[] }): CdiDevices {
  const files = new SpecFiles(directories);
  return {
    inject: async (names, spec) => {
      if (names.length === 0) return spec;
      const wanted = [...new Set(names)];
      for (const name of wanted) parseDeviceName(name);
      const found = await files.read();
      const applied = new Set<SpecFile>();
      let edited = spec;
      for (const name of wanted) {
        try {
          const { file, shared, own } = findDevice(name, found, directories);
          if (shared !== undefined && !applied.has(file)) edited = await applyEdits(edited, shared);
          applied.add(file);
          edited = await applyEdits(edited, own);
        } catch (error) {
          throw wrapError('CDI device', error, name);
        }
      }
      return edited;
    },
  };
}

interface FoundDevice {
  readonly file: SpecFile;
  readonly shared: ContainerEdits | undefined;
  readonly own: ContainerEdits;
}

/** In the last directory that defines it, and there in one file only. */
function findDevice(
  name: string,
  found: readonly (readonly SpecFile[])[],
  directories: readonly string[],
): FoundDevice {
  for (const files of found.toReversed()) {
    const [first, second] = files.flatMap((file) => deviceIn(file, name));
    if (first !== undefined && second !== undefined) {
      const cause = `is defined in ${first.file.path} and in ${second.file.path}`;
      throw new RuntimeError('FailedPrecondition', cause);
    }
    if (first !== undefined) return first;
  }
  throw new RuntimeError('FailedPrecondition', notFound(found.flat(), directories));
}

function deviceIn(file: SpecFile, name: string): readonly FoundDevice[] {
  const { kind, device: wanted } = parseDeviceName(name);
  if (!isUsable(file.content) || file.content.kind !== kind) return [];
  const { devices, containerEdits: shared } = file.content;
  return devices
    .filter((device) => device.name === wanted)
    .map((device) => ({ file, shared, own: device.containerEdits }));
}

function isUsable(content: SpecFile['content']): content is CdiDocument {
  return !('error' in content);
}

function notFound(files: readonly SpecFile[], directories: readonly string[]): string {
  const broken = files.flatMap(({ path, content }) =>
    isUsable(content) ? [] : [`${path} cannot be used: ${content.error}`],
  );
  const places =
    directories.length === 0 ? 'no directory is configured' : `not found in ${directories.join(', ')}`;
  // One file explains, a hundred hide.
  return broken.length === 0 ? places : `${places} (${broken.slice(0, 3).join('; ')})`;
}
