/*
 * Reading a launch plan (plan_format.h). plan_check looks at every byte once, before the first step runs;
 * after it the readers below need no checks of their own.
 */
#pragma once
#include "plan_format.h"
#include <stdbool.h>
#include <stddef.h>

enum plan_list { PLAN_LIST_PARENT = 0, PLAN_LIST_CHILD = 1 };

struct plan_view {
    const unsigned char *lists[2]; /* first step of each list */
    uint32_t counts[2];
    /* Why plan_check refused, and at which step; the text is a constant. */
    const char *problem;
    uint32_t problem_list, problem_index, problem_kind;
};

struct plan_step {
    uint32_t kind, flags;
    const unsigned char *payload, *end; /* end: where the next step begins */
};

/* Position inside the payload of one step. */
struct plan_values {
    const unsigned char *at;
};

/* Whole validation before step one. 0, or -errno with out->problem set. */
int plan_check(const unsigned char *plan, size_t len, struct plan_view *out);
/* The step at `at`, which must be the first of a list or the end of another one. */
struct plan_step plan_step_at(const unsigned char *at);
/* Whether a list of a checked plan holds a step of this kind at or after `from`. */
bool plan_has(const struct plan_view *view, enum plan_list list, uint32_t kind, uint32_t from);
const char *plan_kind_name(uint32_t kind);

uint32_t plan_u32(struct plan_values *v);
uint64_t plan_u64(struct plan_values *v);
const char *plan_str(struct plan_values *v);
const unsigned char *plan_bytes(struct plan_values *v, uint32_t *len);
