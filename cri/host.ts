import { access, readFile } from 'node:fs/promises';
import os from 'node:os';
import { readFiles } from '../native/index.js';
import type { CgroupDriver } from '../runtime/cgroup/types.js';
import { capabilitiesOf } from '../runtime/spec/capabilities.js';
import type { ContainerHost } from './translate/container.js';
import type { HostFiles, neededHostFiles } from './translate/sandbox.js';

/** What the daemon and its host can do; found out once at start. */
export type Host = ContainerHost;

export async function inspectHost(cgroups: Pick<CgroupDriver, 'mode' | 'controllers'>): Promise<Host> {
  const [status, score, apparmor, selinux, swap] = await Promise.all([
    readFile('/proc/self/status', 'utf8'),
    readFile('/proc/self/oom_score_adj', 'utf8'),
    readOptional('/sys/module/apparmor/parameters/enabled'),
    readOptional('/sys/fs/selinux/enforce'),
    canLimitSwap(cgroups.mode),
  ]);
  const capabilities = capabilitiesOf(BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`));
  return {
    capabilities,
    // man 5 proc_pid_oom_score_adj: lowering it takes CAP_SYS_RESOURCE.
    minOomScoreAdj: capabilities.includes('CAP_SYS_RESOURCE') ? -1000 : Number(score),
    apparmor: apparmor?.startsWith('Y') ?? false,
    selinux: selinux !== undefined,
    swap,
    hugetlb: cgroups.controllers.has('hugetlb'),
    cgroupNamespace: cgroups.mode === 'v2',
  };
}

/** The file that limits swap exists where the kernel accounts for it; on v2 the root has none, our own cgroup has. */
async function canLimitSwap(mode: CgroupDriver['mode']): Promise<boolean> {
  if (mode !== 'v2') return exists('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes');
  const own = /^0::(\/.*)$/m.exec((await readOptional('/proc/self/cgroup')) ?? '')?.[1] ?? '/';
  return exists(`/sys/fs/cgroup${own}/memory.swap.max`);
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** The host's files a pod may get copies of, as they are now; those that are not wanted are empty. */
export async function readHostFiles(wanted: ReturnType<typeof neededHostFiles>): Promise<HostFiles> {
  const paths = [...(wanted.hosts ? ['/etc/hosts'] : []), ...(wanted.resolvConf ? ['/etc/resolv.conf'] : [])];
  const contents = paths.length === 0 ? [] : await readFiles(paths);
  const contentOf = (path: string): string => {
    const content = contents[paths.indexOf(path)];
    // The batch reads bytes as latin1.
    return typeof content === 'string' ? Buffer.from(content, 'latin1').toString('utf8') : '';
  };
  return {
    hostname: os.hostname(),
    hosts: contentOf('/etc/hosts'),
    resolvConf: contentOf('/etc/resolv.conf'),
  };
}

async function readOptional(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch {
    return undefined;
  }
}
