import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cache } from '../places.js';

/** What hack/setup/vm.sh made. */
const vm = path.join(cache, 'vm');
const rootPartition = '8e1fd4a6-0f0b-4d5c-8b5e-6b8f1c7d2a10';

export interface MachineOptions {
  /** A disk labelled podwright, with guest.sh and what it needs. */
  readonly disk: string;
  /** Where the archive of the guest's results and its console go. */
  readonly directory: string;
  readonly limitMs: number;
  /** Each line that the job prints. */
  readonly onLine: (line: string) => void;
}

/** Boots a machine, lets it run the job of the disk, and resolves when it has turned itself off. Its own disk stays as it was. */
export async function runMachine({ disk, directory, limitMs, onLine }: MachineOptions): Promise<void> {
  const socket = path.join(path.dirname(disk), 'log.sock');
  const log = net.createServer((connection) => {
    createInterface({ input: connection }).on('line', (line) => onLine(line.replace(/\r$/, '')));
  });
  log.listen(socket);
  await once(log, 'listening');
  const child = spawn(path.join(vm, 'qemu/run'), machineArguments({ disk, directory, socket }), {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const timer = setTimeout(() => {
    onLine(`podwright: the machine was still running after ${limitMs / 1000} s and is killed`);
    child.kill('SIGKILL');
  }, limitMs);
  try {
    await once(child, 'exit');
  } finally {
    clearTimeout(timer);
    // Resolves when the last line has been read.
    await promisify(log.close.bind(log))();
  }
}

interface Places {
  readonly disk: string;
  readonly directory: string;
  /** Where the job's output is read. */
  readonly socket: string;
}

function machineArguments({ disk, directory, socket }: Places): readonly string[] {
  const accelerator = process.env['PODWRIGHT_VM_ACCELERATOR'] ?? 'tcg';
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-smp', '2', '-m', '4G'],
    // A plain model is emulated fastest; images need the hashes. With AES alone the kernel's own GCM crashes.
    ...(accelerator === 'tcg'
      ? ['-accel', 'tcg,thread=multi', '-cpu', 'Nehalem-v1,+sha-ni']
      : ['-accel', accelerator, '-cpu', 'host']),
    ...['-kernel', path.join(vm, 'vmlinuz'), '-append', kernelArguments.join(' ')],
    ...['-serial', `file:${path.join(directory, 'console.txt')}`, '-device', 'virtio-rng-pci'],
    // The kernel may find either first: one is named by its partition, the other by its label.
    ...drive('root', path.join(vm, 'root.img')),
    ...drive('tree', disk),
    ...['-device', 'virtio-serial-pci'],
    ...port('log', `socket,path=${socket}`),
    ...port('results', `file,path=${path.join(directory, 'results.tar')}`),
  ];
}

// On a busy host the kernel finds its timer dead at start, and devices appear later than systemd waits for.
const kernelArguments = [
  `root=PARTUUID=${rootPartition}`,
  ...['rootwait', 'rw', 'console=ttyS0', 'quiet', 'panic=-1', 'mitigations=off'],
  ...['apparmor=1', 'systemd.show_status=0', 'no_timer_check', 'systemd.default_device_timeout_sec=900'],
];

function drive(name: string, file: string): readonly string[] {
  return [
    ...['-drive', `if=none,id=${name},file=${file},format=raw,snapshot=on,cache=unsafe`],
    ...['-device', `nvme,drive=${name},serial=${name}`],
  ];
}

function port(name: string, backend: string): readonly string[] {
  const [kind = '', ...options] = backend.split(',');
  return [
    ...['-chardev', [kind, `id=${name}`, ...options].join(',')],
    ...['-device', `virtserialport,chardev=${name},name=podwright.${name}`],
  ];
}
