/*
 * The launch plan: the wire format between TypeScript (runtime/plan/wire.ts) and the helper.
 *
 * A plan is two lists of primitive steps. `parent` steps run in the launcher, in the host's namespaces; the
 * launcher's CLONE step makes the child, which runs the `child` steps and becomes the command (EXEC) or the
 * sandbox's pause process (PAUSE). The first failing step ends the launch: it is reported (report_format
 * below), the child is killed, nothing is retried. An unknown kind, a bad length or trailing bytes refuse the
 * whole plan before its first step runs.
 *
 *   header   u32 magic, u16 version, u16 zero, u32 total length in bytes, u32 parent steps, u32 child steps
 *   step     u16 kind, u16 flags, u32 payload length (padded to 4), payload
 *
 * Payload values follow each other in the order given behind each kind, native (little) endian, each starting
 * at a multiple of 4: u32, u64, slot (u32 index into the descriptor table, PLAN_NO_SLOT for none) str   u32
 * length including the final NUL, the bytes, padding to 4 bytes u32 length, the bytes, padding to 4 strs  u32
 * count, then that many str Strings never contain another NUL.
 *
 * Descriptors are numbered slots which one step fills and another uses; filling a slot again closes what was
 * in it. The launcher's caller fills the first ones:
 */
#pragma once
#include <stdint.h>

#define PLAN_MAGIC 0x4c505750u /* "PWPL" */
#define PLAN_VERSION 1
#define PLAN_MAX_BYTES (1u << 20)
#define PLAN_MAX_STEPS 16384u
#define PLAN_MAX_SLOTS 2048u
#define PLAN_NO_SLOT 0xffffffffu

/* Slots filled by whoever launches. */
#define PLAN_SLOT_STDIN 0u
#define PLAN_SLOT_STDOUT 1u
#define PLAN_SLOT_STDERR 2u
#define PLAN_SLOT_EXEC_FIFO 3u /* the exec fifo, a pipe to read from; absent in an exec */
#define PLAN_SLOT_CONSOLE 4u   /* connected unix socket that receives the pty master */
#define PLAN_SLOT_PASSED 8u    /* descriptors the daemon passed with the plan, in order */
#define PLAN_SLOT_FREE 16u     /* the plan's own start here */

/*
 * Descriptors of the launcher process (`podwright-init launch N`, N = number of passed descriptors):
 * 0-2 slots 0-2, 3 the plan (a memfd or file, read with pread), 4 the report pipe's write end, 5.. slot
 * PASSED+i. A further argument is the number of the descriptor behind the passed ones, which becomes slot
 * CONSOLE; `exec N` is the same role under another name. Whoever starts it leaves no signal ignored or
 * blocked. The monitor launches init without an exec of itself, with the same meaning of the slots.
 */
#define LAUNCH_FD_PLAN 3
#define LAUNCH_FD_REPORT 4
#define LAUNCH_FD_PASSED 5

enum plan_kind {
    /* ---- descriptors and files (either list) ---- */
    /* openat2: slot out, slot dir (NO_SLOT: working directory), str path, u64 flags, u64 mode, u64 resolve */
    PLAN_OPEN = 1,
    /* write(2) once, whole: slot, bytes */
    PLAN_WRITE = 2,
    /* slot */
    PLAN_CLOSE = 3,
    /* open_tree OPEN_TREE_CLONE: slot out, slot dir, str path, u32 recursive (0/1).
     * A path that is a symlink is followed (the kubelet's volumes are links). */
    PLAN_OPEN_TREE = 4,
    /* The same inside another process' mount namespace, then back to our own: slot out, slot pidfd, str path
     */
    PLAN_OPEN_TREE_IN = 5,
    /* fsopen + fsconfig + fsmount: slot out, str type, str source (may be empty), strs options ("key" or
     * "key=value"), u64 mount attributes (MOUNT_ATTR_*). Options the kernel does not know are an error. */
    PLAN_FS_MOUNT = 6,
    /* Overlay: slot out, str layers directory, strs lower (names below it, top first), str upper, str work
     * (both empty: read-only), strs options, u64 mount attributes. lowerdir+ (6.7) where the kernel has it,
     * else mount(2) with the short names in a private mount namespace. */
    PLAN_OVERLAY = 7,
    /* mount_setattr on the mount of a slot: slot, u32 recursive, u64 set, u64 clear, u64 propagation (MS_*; 0
     * none), slot user namespace (NO_SLOT: none) */
    PLAN_MOUNT_SETATTR = 8,
    /* move_mount: slot mount, slot root (NO_SLOT: host path), str path, u32 create (0 no, 1 directory, 2
     * file, 3 whichever of the two the root of the mount is). The path is resolved inside root with
     * RESOLVE_IN_ROOT; missing components are made 0755 below root, never through a link that leaves it; what
     * was attached is checked to lie where it was asked for. */
    PLAN_MOVE_MOUNT = 9,
    /* umount2: slot root (NO_SLOT: host path), str path, u32 flags */
    PLAN_UNMOUNT = 10,
    /* mkdir with parents inside root, existing is fine: slot root, str path, u32 mode, u32 uid, u32 gid */
    PLAN_MKDIR = 11,
    /* replaces an existing file or link: slot root, str path, str target */
    PLAN_SYMLINK = 12,
    /* mknod inside root: slot root, str path, u32 mode with type, u32 major, u32 minor, u32 uid, u32 gid */
    PLAN_MAKE_DEVICE = 13,
    /* New or replaced regular file inside root: slot root, str path, u32 mode, u32 uid, u32 gid, bytes
       content */
    PLAN_FILE = 14,
    /* OVERLAY whose layers are seen through the maps of a user namespace, and whose upper directory gets the
     * owner that these make of its present one: as OVERLAY, then slot user namespace. What the container
     * writes has its ids of the host. */
    PLAN_IDMAPPED_OVERLAY = 15,
    /* The mount of a slot becomes a detached copy of a directory in it: slot, str path, resolved inside it
     * whatever links it has on the way */
    PLAN_SUB_TREE = 16,

    /* ---- launcher only ---- */
    /* clone3 with CLONE_PARENT: u64 flags (CLONE_NEW*), slot cgroup v2 directory for CLONE_INTO_CGROUP
     * (NO_SLOT: none). Reports the child's pid. Exactly once in a plan that has child steps. */
    PLAN_CLONE = 20,
    /* Writes /proc/CHILD/{setgroups,uid_map,gid_map}: str uid map, str gid map, u32 deny setgroups */
    PLAN_ID_MAP = 21,
    /* Rendezvous, same number on both sides, in order: u32 token */
    PLAN_SYNC = 22,
    /* Bind mount of /proc/CHILD/ns/NAME on a new file: str name ("net"), str host path */
    PLAN_PIN_NAMESPACE = 23,
    /* /proc/CHILD/oom_score_adj; EPERM/EACCES falls back to the launcher's own value and is logged: u32 value
       (i32) */
    PLAN_OOM_SCORE_ADJ = 24,
    /* pidfd_open: slot out, u32 pid, u64 start time in clock ticks (/proc/PID/stat field 22; 0: not checked).
     * Another start time is ESRCH. */
    PLAN_OPEN_PID = 25,
    /* A user namespace made for its maps only: slot out, str uid map, str gid map */
    PLAN_USER_NAMESPACE = 26,
    /* Gives slots 0-2 to the user if they are pipes: u32 uid, u32 gid of the host. STDIO may not, in a user
     * namespace to which they do not belong. */
    PLAN_STDIO_OWNER = 27,
    /* A path of the host, a link itself: str path, u32 uid, u32 gid */
    PLAN_CHOWN = 28,

    /* ---- namespaces (child) ---- */
    /* u64 CLONE_NEW* */
    PLAN_UNSHARE = 30,
    /* setns: slot (namespace file or pidfd), u64 CLONE_NEW* */
    PLAN_JOIN = 31,
    /* Enters a pid namespace that others use: closes every slot but 0-2, fifo and console, setns(slot), forks
     * with CLONE_PARENT; the fork goes on with the next step, its pid is reported: slot (namespace file or
     * pidfd) */
    PLAN_JOIN_PID = 32,
    /* mount(NULL, path, NULL, flags): str path, u64 flags (MS_REC | MS_SLAVE …) */
    PLAN_PROPAGATION = 33,
    /* slot rootfs mount, u32 mode: 0 pivot_root, 1 MS_MOVE + chroot. Working directory is the new root after
       it. */
    PLAN_PIVOT_ROOT = 34,
    /* chroot-like entry for an exec: after JOIN of a mount namespace, root is already right; nothing to do
       there. */
    /* str */
    PLAN_HOSTNAME = 35,
    PLAN_DOMAINNAME = 36,
    /* str key with dots or slashes, str value; written through a procfs of our own */
    PLAN_SYSCTL = 37,
    /* Files get /dev/null, directories an empty read-only tmpfs; missing is fine: slot root, str path */
    PLAN_MASK = 38,
    /* Bind on itself, then read-only; missing is fine: slot root, str path */
    PLAN_READ_ONLY = 39,
    /* Copies the content of a directory of root into the detached tmpfs: slot mount, slot root, str path */
    PLAN_COPY_UP = 40,

    /* ---- rtnetlink (launcher: host's network namespace; child: its own). Addresses are 4 or 16 bytes. ----
     */
    /* Veth pair: str host name, str peer name, bytes host mac (6 or 0), bytes peer mac (6 or 0), u32 mtu (0:
     * default). Launcher only; the peer is made in the child's network namespace. */
    PLAN_LINK_VETH = 50,
    /* Bridge, existing is fine: str name, bytes mac (6 or 0), u32 mtu */
    PLAN_LINK_BRIDGE = 51,
    /* str name, u32 up (0 leave, 1 up, 2 down), str master (empty: leave), u32 hairpin (0 leave, 1 on) */
    PLAN_LINK_SET = 52,
    /* Missing is fine: str name */
    PLAN_LINK_DELETE = 53,
    /* Existing is fine: str link, bytes address, u32 prefix length */
    PLAN_ADDRESS = 54,
    /* str link, bytes destination (empty: default), u32 prefix length, bytes gateway (empty: none) */
    PLAN_ROUTE = 55,

    /* ---- the process (child) ---- */
    /* setsid; u32 unused zero */
    PLAN_SETSID = 60,
    /* A new session keyring: str name */
    PLAN_KEYRING = 61,
    /* u32 resource, u64 soft, u64 hard. EPERM when raising the hard limit: the present one is kept and logged
     */
    PLAN_RLIMIT = 62,
    /* u64 mask of capabilities that stay in the bounding set */
    PLAN_CAP_BOUNDING = 63,
    /* setgroups, setresgid, setresuid keeping permitted and effective capabilities: u32 uid, u32 gid, u32
     * umask (NO_SLOT: leave), u32 count, then count u32 groups; flags bit 0: setgroups is denied here, leave
     * the groups alone */
    PLAN_USER = 64,
    /* capset and ambient set: u64 effective, u64 permitted, u64 inheritable, u64 ambient */
    PLAN_CAPABILITIES = 65,
    PLAN_NO_NEW_PRIVS = 66,
    /* u32 SECCOMP_FILTER_FLAG_*, bytes array of struct sock_filter, slot listener socket (NO_SLOT: none),
     * bytes listener metadata */
    PLAN_SECCOMP = 67,
    /* str profile; for the next execve, through a procfs of our own */
    PLAN_APPARMOR = 68,
    /* str label */
    PLAN_SELINUX = 69,
    /* str path, u32 create (0/1: made 0755 if missing). The result must lie below the root. */
    PLAN_CHDIR = 70,
    /* Makes slots 0-2 descriptors 0-2 and gives them to the user if they are pipes: u32 uid, u32 gid */
    PLAN_STDIO = 71,
    /* A pty of the container's own devpts becomes descriptors 0-2, the controlling terminal and /dev/console;
     * its master goes to slot CONSOLE: u32 columns, u32 rows, u32 uid, u32 gid; flags bit 0: leave
     * /dev/console alone (exec) */
    PLAN_CONSOLE = 72,
    /* Reports ready, then blocks until the fifo of slot EXEC_FIFO brings a byte; its end is a failure: no
       payload */
    PLAN_EXEC_FIFO = 73,
    /* Closes everything above 2 + u32 preserve, then execve: u32 preserve, strs argv, strs environment.
     * argv[0] without a slash is looked for in the environment's PATH. */
    PLAN_EXEC = 74,
    /* Becomes the pause process: reports ready, drops every capability, reaps until SIGTERM: no payload */
    PLAN_PAUSE = 75,
    /* str signal number as u32 */
    PLAN_PARENT_DEATH_SIGNAL = 76,
};

/*
 * The report pipe: records of the launch, written by launcher and child (each one write(2) below PIPE_BUF).
 *   u16 type, u16 zero, u32 payload length, payload as above
 * End of file without an error record: the command is running (execve closed the pipe) or was killed.
 */
enum report_type {
    /* u32 pid as seen by the launcher's pid namespace; the last one counts */
    REPORT_PID = 1,
    /* no payload: EXEC_FIFO reached, or pause is ready */
    REPORT_READY = 2,
    /* u32 list (0 parent, 1 child), u32 step index, u32 kind, u32 errno, str system call, str detail (a path
       or name) */
    REPORT_ERROR = 3,
    /* u32 level (0 debug, 1 info, 2 warning), str text */
    REPORT_LOG = 4,
};
