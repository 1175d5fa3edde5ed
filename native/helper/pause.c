/*
 * The pause process: holds the sandbox's namespaces and, as pid 1 of a shared pid namespace, reaps. It lives
 * as long as the pod, in sight of its containers: no descriptor, no capability, and no memory that is not
 * needed.
 */
#include "kernel.h"
#include "step.h"
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#ifdef __GLIBC__
#include <sys/rseq.h>
#endif

static void drop_everything(struct stage *s) {
    for (unsigned long cap = 0; cap < 64; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap) == 0)
            continue;
        if (errno != EINVAL)
            step_fail(s, "prctl", "PR_CAPBSET_DROP");
        break; /* beyond the kernel's last capability */
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0)
        step_fail(s, "capset", NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        step_fail(s, "prctl", "PR_SET_NO_NEW_PRIVS");
}

/* ---- what stays of the program ---- */

/* A sanitizer's own memory must stay. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
static inline long bare_call(long number, long a, long b, long c, long d) {
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return number;
}
#define BARE_CALLS 1
#elif defined(__aarch64__) && !defined(__SANITIZE_ADDRESS__)
static inline long bare_call(long number, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#define BARE_CALLS 1
#endif

#ifdef BARE_CALLS
/*
 * Everything but this page of code and the stack that is in use is unmapped: what pause keeps is then some 16
 * KiB instead of 650, and there is no code in it that could be turned against it. Neither libc nor data may
 * be used here.
 */
__attribute__((noreturn, noinline, aligned(4096), section(".text.pause"),
               optimize("no-stack-protector"))) static void
wait_for_ever(const uint64_t *signals, long code, long code_end, long stack) {
    bare_call(SYS_munmap, 65536, code - 65536, 0, 0);
    bare_call(SYS_munmap, code_end, stack - code_end, 0, 0);
    for (;;) {
        long signal = bare_call(SYS_rt_sigtimedwait, (long)signals, 0, 0, sizeof *signals);
        if (signal == SIGCHLD)
            while (bare_call(SYS_wait4, -1, 0, WNOHANG, 0) > 0)
                ;
        else if (signal > 0)
            bare_call(SYS_exit_group, 0, 0, 0, 0);
    }
}

/* glibc has told the kernel to keep a record of preemptions in our memory; gone memory would be a SIGSEGV. */
static bool stop_rseq(void) {
#ifdef __GLIBC__
    if (__rseq_size == 0)
        return true;
    char *area = (char *)__builtin_thread_pointer() + __rseq_offset;
    for (long size = 32; size <= 256; size += 32)
        if (syscall(SYS_rseq, area, size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0)
            return true;
    return false;
#else
    return true;
#endif
}

/* Returns where it cannot be done. */
static void wait_with_little(const sigset_t *signals) {
    if (!stop_rseq())
        return;
    long page = sysconf(_SC_PAGESIZE);
    uint64_t kernel_signals; /* the kernel's set is the first word of libc's */
    memcpy(&kernel_signals, signals, sizeof kernel_signals);
    long code = (long)(uintptr_t)wait_for_ever & -page;
    /* Two pages below this frame are more than wait_for_ever uses. */
    long stack = ((long)(uintptr_t)&kernel_signals & -page) - 2 * page;
    wait_for_ever(&kernel_signals, code, code + page, stack);
}
#else
static void wait_with_little(const sigset_t *signals) {
    (void)signals;
}
#endif

static void wait_with_libc(const sigset_t *signals) {
    for (;;) {
        int signal = sigwaitinfo(signals, NULL);
        if (signal == SIGCHLD)
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        else if (signal > 0)
            _exit(0);
    }
}

void step_pause(struct stage *s, struct plan_values *v) {
    (void)v;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGQUIT);
    /* Blocked before anybody may know of us: pid 1 would never see a signal that has no handler. */
    if (sigprocmask(SIG_SETMASK, &signals, NULL) < 0)
        step_fail(s, "sigprocmask", NULL);
    prctl(PR_SET_NAME, "podwright-pause");
    stage_await_launcher(s);
    drop_everything(s);
    report_ready(s->report_fd);
    kernel_close_range(0, ~0u, 0);
    wait_with_little(&signals);
    wait_with_libc(&signals);
}
