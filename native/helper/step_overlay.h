/* The two ways to make an overlay; both run with the layers directory as working directory. */
#pragma once
#include "plan.h"

struct stage;

struct overlay {
    const char *layers, *upper, *work;
    struct plan_values lower, options; /* each at its strs */
    uint64_t attributes;
};

/* A detached mount, or -errno with the system call that failed. -E2BIG: too many layers for a kernel
 * before 6.7. */
int overlay_new_api(struct stage *s, const struct overlay *o, const char **call);
int overlay_mount(const struct overlay *o, const char **call);
