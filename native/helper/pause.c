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

static void drop_everything(struct stage *s) {
    for (unsigned long cap = 0; cap < 64 && prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap) < 0)
            step_fail(s, "prctl", "PR_CAPBSET_DROP");
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0)
        step_fail(s, "capset", NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        step_fail(s, "prctl", "PR_SET_NO_NEW_PRIVS");
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
    close_range(0, ~0u, 0);
    for (;;) {
        int signal = sigwaitinfo(&signals, NULL);
        if (signal == SIGCHLD)
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        else if (signal > 0)
            _exit(0);
    }
}
