import { readdir } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { Counter, Gauge, type Registry } from 'prom-client';

/**
 * What the daemon itself uses. Everything is read when somebody asks: the usual collectors of event loop lag and garbage
 * collection keep timers and observers that cost more than this daemon does when idle.
 */
export function meterProcess(registry: Registry, version: string): void {
  const registers = [registry];
  new Gauge({
    name: 'podwright_build_info',
    help: 'Version of the daemon and of Node; the value is 1.',
    labelNames: ['version', 'node'] as const,
    registers,
  }).set({ version, node: process.versions.node }, 1);
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'When the daemon was started, in seconds since 1970.',
    registers,
  }).set(performance.timeOrigin / 1000);
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time used, in user and kernel mode.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    name: 'process_open_fds',
    help: 'Open file descriptors.',
    registers,
    async collect() {
      this.set((await readdir('/proc/self/fd')).length);
    },
  });
  new Gauge({
    name: 'podwright_heap_used_bytes',
    help: 'JavaScript heap in use.',
    registers,
    collect() {
      this.set(process.memoryUsage().heapUsed);
    },
  });
  new Counter({
    name: 'podwright_event_loop_busy_seconds_total',
    help: 'Time in which the event loop was not waiting: its rate is the part of a processor it takes.',
    registers,
    collect() {
      this.reset();
      this.inc(performance.eventLoopUtilization().active / 1000);
    },
  });
}
