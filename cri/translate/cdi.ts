import type { ContainerConfig } from '../../protos/gen/cri/runtime/v1/api.js';
import { checkCount, checkText, quote, refuse } from './check.js';

/** Annotations by which device plugins named devices before the CRI had a field for it: CDI SPEC.md. */
const annotationPrefix = 'cdi.k8s.io/';

/** Names of the CDI devices of a container, those of the field first. */
export function toCdiNames(
  { CDIDevices: devices, annotations }: Pick<ContainerConfig, 'CDIDevices' | 'annotations'>,
  { allowsAnnotations }: { readonly allowsAnnotations: boolean },
): readonly string[] {
  checkCount('config.CDI_devices', devices, 1000);
  const named = devices.map(({ name }, index) => checkText(`config.CDI_devices[${index}].name`, name));
  const annotated = Object.entries(annotations)
    .filter(([key]) => key.startsWith(annotationPrefix))
    .flatMap(([key, value]) => {
      const field = `config.annotations[${quote(key)}]`;
      const names = checkText(field, value).split(',');
      // Whoever may write annotations would else choose devices: only where the node's owner wants that.
      if (!allowsAnnotations && names.some((name) => !named.includes(name)))
        throw refuse(field, 'asks for CDI devices, which the option cdi_annotations does not allow');
      return names;
    });
  return [...new Set([...named, ...annotated])];
}
