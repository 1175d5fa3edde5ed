import { RuntimeError } from '../errors.js';
import type { Process, Spec } from '../spec/types.js';

/** @throws Unimplemented naming the first field that asks for what no plan can do yet */
export function refuseUnimplemented({ process, linux, hooks }: Spec): void {
  if (process !== undefined) refuseUnimplementedProcess(process);
  refuse({
    'linux.personality': linux?.personality,
    'linux.memoryPolicy': linux?.memoryPolicy,
    'linux.intelRdt': linux?.intelRdt,
    'linux.netDevices': linux?.netDevices,
    'linux.timeOffsets': linux?.timeOffsets,
    'linux.mountLabel': linux?.mountLabel,
    'linux.seccomp.listenerPath': linux?.seccomp?.listenerPath,
    ...Object.fromEntries(Object.entries(hooks ?? {}).map(([point, list]) => [`hooks.${point}`, list])),
  });
}

/** The same for the fields that an exec brings. */
export function refuseUnimplementedProcess(process: Process): void {
  refuse({
    'process.scheduler': process.scheduler,
    'process.ioPriority': process.ioPriority,
    'process.execCPUAffinity': process.execCPUAffinity,
  });
}

function refuse(fields: Readonly<Record<string, unknown>>): void {
  const asked = Object.entries(fields).find(([, value]) => !isEmpty(value));
  if (asked !== undefined) throw new RuntimeError('Unimplemented', asked[0]);
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
