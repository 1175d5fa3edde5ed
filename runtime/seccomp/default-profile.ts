import type { Seccomp, SeccompSyscall } from '../spec/types.js';

/**
 * The profile of RuntimeDefault: what a program in a container may call, by subject, so that a reviewer sees at a glance
 * what is missing and why. Everything else answers EPERM; calls newer than this list answer ENOSYS (native/seccomp.ts), so
 * that programs fall back to older ones.
 *
 * Left out on purpose: kernel modules, kexec, swap, mounts and namespaces (by capability below), the kernel's own keyring
 * (add_key, keyctl, request_key), bpf and perf (by capability), userfaultfd, io_uring (its requests bypass this filter),
 * obsolete and administrative calls. The set is the one that Docker and containerd agree on.
 */
const allowed: Readonly<Record<string, string>> = {
  'open and close': `open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 ioctl flock memfd_create
    memfd_secret name_to_handle_at pipe pipe2 eventfd eventfd2 signalfd signalfd4`,
  'read and write': `read readv pread64 preadv preadv2 readahead write writev pwrite64 pwritev pwritev2 lseek _llseek
    sendfile sendfile64 splice tee vmsplice copy_file_range fallocate fadvise64 fadvise64_64 ftruncate ftruncate64 truncate
    truncate64 fsync fdatasync sync syncfs sync_file_range`,
  'names and metadata': `access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat statx
    statfs statfs64 fstatfs fstatfs64 chdir fchdir getcwd mkdir mkdirat rmdir mknod mknodat link linkat unlink unlinkat
    symlink symlinkat readlink readlinkat rename renameat renameat2 getdents getdents64 chmod fchmod fchmodat fchmodat2 chown
    chown32 fchown fchown32 fchownat lchown lchown32 umask utime utimes utimensat utimensat_time64 futimesat`,
  'extended attributes': `getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr
    llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat`,
  'looking at mounts and security modules': `statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules`,
  watching: `poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 inotify_init inotify_init1 inotify_add_watch
    inotify_rm_watch fanotify_mark`,
  'asynchronous I/O': `io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64`,
  memory: `brk mmap mmap2 munmap mremap mprotect madvise mincore mlock mlock2 mlockall munlock munlockall msync membarrier
    remap_file_pages pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack cachestat process_mrelease`,
  processes: `fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp setpgid
    getsid setsid set_tid_address prctl pidfd_open pidfd_send_signal kill tkill tgkill pause restart_syscall rseq
    uretprobe`,
  signals: `rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn`,
  'users and privileges': `getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32
    getresgid getresgid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
    setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 getgroups getgroups32 setgroups setgroups32 capget capset
    seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self`,
  'limits and scheduling': `getrlimit ugetrlimit setrlimit prlimit64 getrusage times getpriority setpriority ioprio_get
    ioprio_set getcpu sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
    sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval
    sched_rr_get_interval_time64 sched_yield`,
  threads: `futex futex_time64 futex_waitv futex_wake futex_wait futex_requeue get_robust_list set_robust_list
    get_thread_area set_thread_area`,
  time: `time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
    clock_nanosleep_time64 nanosleep alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 adjtimex clock_adjtime clock_adjtime64`,
  // The kernel asks for CAP_SYS_TIME where these three would set the clock.
  sockets: `socketpair socketcall bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt
    send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64`,
  'System V and POSIX IPC': `ipc msgget msgsnd msgrcv msgctl semget semop semctl semtimedop semtimedop_time64 shmget shmat
    shmdt shmctl mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify
    mq_getsetattr`,
  'the system': `uname sysinfo getrandom`,
  // Since Linux 4.8 ptrace can no longer be used to get around a filter.
  debugging: `ptrace process_vm_readv process_vm_writev`,
};

/** Calls that only some architectures have. */
const allowedByArchitecture: Readonly<Partial<Record<NodeJS.Architecture, string>>> = {
  x64: 'arch_prctl modify_ldt',
  arm64: 'arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls',
  arm: 'arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls',
  ppc64: 'sync_file_range2 swapcontext',
  s390x: 's390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr',
  riscv64: 'riscv_flush_icache riscv_hwprobe',
};

/** What a capability of the bounding set makes sense of. */
const allowedByCapability: Readonly<Record<string, string>> = {
  CAP_BPF: 'bpf',
  CAP_DAC_READ_SEARCH: 'open_by_handle_at',
  CAP_PERFMON: 'perf_event_open',
  CAP_SYS_ADMIN: `bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
    open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`,
  CAP_SYS_BOOT: 'reboot',
  CAP_SYS_CHROOT: 'chroot',
  CAP_SYS_MODULE: 'delete_module init_module finit_module',
  CAP_SYS_NICE: 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node',
  CAP_SYS_PACCT: 'acct',
  CAP_SYS_PTRACE: 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace',
  CAP_SYS_RAWIO: 'iopl ioperm',
  CAP_SYS_TIME: 'settimeofday stime clock_settime clock_settime64',
  CAP_SYS_TTY_CONFIG: 'vhangup',
  CAP_SYSLOG: 'syslog',
};

const subArchitectures: Readonly<Partial<Record<NodeJS.Architecture, readonly string[]>>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
  s390x: ['SCMP_ARCH_S390X', 'SCMP_ARCH_S390'],
  riscv64: ['SCMP_ARCH_RISCV64'],
  loong64: ['SCMP_ARCH_LOONGARCH64'],
};

const ENOSYS = 38;

/** CLONE_NEW* of mount, cgroup, uts, ipc, user, pid and network namespaces. */
const NAMESPACE_FLAGS = 0x7e020000;

/** The capabilities of a bounding set that change the profile, in one order: equal answers mean equal profiles. */
export function relevantCapabilities(capabilities: readonly string[]): readonly string[] {
  return Object.keys(allowedByCapability).filter((name) => capabilities.includes(name));
}

/** The default profile as an OCI `linux.seccomp` object, for a bounding set and an architecture. */
export function buildDefaultProfile(
  capabilities: readonly string[],
  architecture: NodeJS.Architecture = process.arch,
): Seccomp {
  const granted = relevantCapabilities(capabilities);
  const names = [
    ...Object.values(allowed),
    allowedByArchitecture[architecture] ?? '',
    ...granted.map((capability) => allowedByCapability[capability] ?? ''),
  ].flatMap((text) => text.split(/\s+/));
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 1,
    architectures: subArchitectures[architecture] ?? [],
    syscalls: [
      { names: [...new Set(names)].filter((name) => name !== ''), action: 'SCMP_ACT_ALLOW' },
      ...socketRules(),
      ...personalityRules(),
      ...(granted.includes('CAP_SYS_ADMIN') ? [] : cloneRules(architecture)),
    ],
  };
}

/**
 * Address families: all but AF_ALG (38), an entrance to the kernel's crypto code that containers do not need, and AF_VSOCK
 * (40), which reaches the hypervisor or the virtual machines beside the network namespace. socketcall(2) of 32-bit programs
 * keeps its arguments in memory, where no filter sees them.
 */
function socketRules(): readonly SeccompSyscall[] {
  const rule = (value: number, op: string): SeccompSyscall => ({
    names: ['socket'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, value, op }],
  });
  return [rule(38, 'SCMP_CMP_LT'), ...[39, 41, 42, 43, 44, 45].map((family) => rule(family, 'SCMP_CMP_EQ'))];
}

/** PER_LINUX and PER_LINUX32, each also with UNAME26, and asking for the present one. */
function personalityRules(): readonly SeccompSyscall[] {
  return [0x0, 0x8, 0x20000, 0x20008, 0xffffffff].map((value) => ({
    names: ['personality'],
    action: 'SCMP_ACT_ALLOW',
    args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
  }));
}

/** New processes but no new namespaces. clone3 hides its flags in memory, so the C library must fall back to clone. */
function cloneRules(architecture: NodeJS.Architecture): readonly SeccompSyscall[] {
  // s390 has the first two arguments the other way round.
  const index = architecture === 's390x' ? 1 : 0;
  const args = [{ index, value: NAMESPACE_FLAGS, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }];
  return [
    { names: ['clone'], action: 'SCMP_ACT_ALLOW', args },
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS },
  ];
}
