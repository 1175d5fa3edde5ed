/* How long a whole launch takes: namespaces, overlay, every usual mount, execve, exit. Build without
 * sanitizers. */
#include "fixture.h"
#include "tap.h"
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(struct fixture *f, const char *name, uint64_t flags, bool mounts) {
    enum { RUNS = 300 };
    static double times[RUNS];
    for (int i = 0; i < RUNS; i++) {
        struct builder b = {0};
        add_rootfs(&b, f, flags);
        if (mounts)
            add_mounts(&b);
        add_pivot(&b);
        add(&b, CHILD, PLAN_SETSID, "w", 0u);
        add_probe(&b, NULL);
        double from = now_ms();
        struct outcome o = run(&b, &f->launch);
        times[i] = now_ms() - from;
        if (o.child_status != 0)
            show(&o);
    }
    qsort(times, RUNS, sizeof *times, compare);
    printf("%-44s p50 %.2f ms  p90 %.2f ms  min %.2f ms\n", name, times[RUNS / 2], times[RUNS * 9 / 10],
           times[0]);
}

int main(void) {
    static struct fixture f;
    const uint64_t most = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (fixture_make(&f)) {
        fixture_streams(&f);
        measure(&f, "overlay, pivot, exec, exit", 0, false);
        measure(&f, "with pid, ipc, uts, cgroup and all mounts", most, true);
        measure(&f, "with a network namespace too", most | CLONE_NEWNET, true);
    }
    fixture_remove(&f);
    return 0;
}
