/* Writes launch plans for tests, and runs them as a monitor would. */
#pragma once
#include "../launch.h"
#include <sys/types.h>

struct builder {
    unsigned char *lists[2];
    size_t len[2];
    uint32_t counts[2];
    struct plan_view view;
};

/*
 * Appends a step. The values follow their types: s, w unsigned int; q uint64_t; t const char *; b const void
 * *, size_t; T const char *const * ending in NULL; g unsigned int count, const uint32_t *. A '+' at the end
 * sets flag bit 0.
 */
void add(struct builder *b, enum plan_list list, uint32_t kind, const char *types, ...);
/* The plan's bytes, to be freed; the builder is empty afterwards. */
unsigned char *finish(struct builder *b, size_t *len);

struct outcome {
    int started;           /* launch_start's answer */
    pid_t launcher, child; /* child: 0 until it is known */
    int report_fd;
    bool ready, ended;   /* ended: the pipe's end was seen */
    struct report error; /* type 0 if there was none */
    char logs[4096];
    int launcher_status, child_status; /* wait status, -1 if not waited for */
};

/* Starts the plan; takes over the builder's content. */
struct outcome start(struct builder *b, struct launch *l);
/* Reads reports until the pipe ends, an error comes, or (if asked) the child is ready. */
void follow(struct outcome *o, bool until_ready);
/* Waits for both processes. */
void reap(struct outcome *o);
/* start, follow to the end, reap. */
struct outcome run(struct builder *b, struct launch *l);
/* Prints the error of an outcome as a diagnostic, if there is one. */
void show(const struct outcome *o);
