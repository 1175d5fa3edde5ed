/* How long a whole launch takes: namespaces, overlay, every usual mount, execve, exit. Build without
 * sanitizers. */
#include "fixture.h"
#include "tap.h"
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
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

/* Processor time of every process we have waited for; unlike the clock it does not count who else runs. */
static double cpu_ms(void) {
    struct rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static void measure(struct fixture *f, const char *name, uint64_t flags, bool mounts) {
    enum { RUNS = 300 };
    static double times[RUNS];
    double cpu = cpu_ms();
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
        if (o.child_status != 0) {
            show(&o);
            exit(1);
        }
    }
    qsort(times, RUNS, sizeof *times, compare);
    printf("%-44s p50 %.2f ms  min %.2f ms  processor %.2f ms\n", name, times[RUNS / 2], times[0],
           (cpu_ms() - cpu) / RUNS);
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
