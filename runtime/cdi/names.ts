import { RuntimeError } from '../errors.js';

/** `vendor/class=device`, as CDI SPEC.md#kind and #devices define the parts. */
export interface DeviceName {
  /** `vendor/class` */
  readonly kind: string;
  readonly device: string;
}

const kindPattern = /^[a-zA-Z](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?\/[a-zA-Z](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?$/;
const devicePattern = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.:-]*[a-zA-Z0-9])?$/;

export function isKind(text: string): boolean {
  return text.length <= 512 && kindPattern.test(text);
}

export function isDevice(text: string): boolean {
  return text.length <= 512 && devicePattern.test(text);
}

/** @throws InvalidArgument unless it is fully qualified */
export function parseDeviceName(text: string): DeviceName {
  const at = text.indexOf('=');
  const [kind, device] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 0 || !isKind(kind) || !isDevice(device)) {
    throw new RuntimeError('InvalidArgument', 'CDI device', {
      subject: JSON.stringify(text.slice(0, 200)),
      cause: 'is not of the form vendor/class=device',
    });
  }
  return { kind, device };
}
