/* What plan_check refuses. Needs nothing. */
#include "builder.h"
#include "tap.h"
#include <errno.h>
#include <string.h>

#define PARENT PLAN_LIST_PARENT
#define CHILD PLAN_LIST_CHILD

static const char *const argv_true[] = {"/bin/true", NULL};

/* Checks and frees; the problem, or NULL. */
static const char *check(struct builder *b) {
    size_t len;
    unsigned char *plan = finish(b, &len);
    struct plan_view view;
    int error = plan_check(plan, len, &view);
    free(plan);
    return error < 0 ? view.problem : NULL;
}

static void accepts(struct builder *b, const char *name) {
    const char *problem = check(b);
    if (!ok(problem == NULL, "%s", name))
        printf("#   refused: %s\n", problem);
}

static void refuses(struct builder *b, const char *expected, const char *name) {
    const char *problem = check(b);
    if (!ok(problem && strcmp(problem, expected) == 0, "%s", name))
        printf("#   %s\n", problem ? problem : "accepted");
}

static void add_clone(struct builder *b) {
    add(b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, PLAN_NO_SLOT);
}

static void add_exec(struct builder *b) {
    add(b, CHILD, PLAN_EXEC, "wTT", 0u, argv_true, NULL);
}

static void add_join(struct builder *b, uint64_t flags) {
    add(b, CHILD, PLAN_JOIN, "sq", 8u, flags);
}

static void test_order(void) {
    struct builder b = {0};
    accepts(&b, "an empty plan");
    add_clone(&b), add_exec(&b);
    accepts(&b, "clone and exec");
    add_exec(&b);
    refuses(&b, "child steps without a clone", "child steps without a clone");
    add_clone(&b);
    refuses(&b, "a clone without child steps", "a clone without child steps");
    add_clone(&b), add_clone(&b), add_exec(&b);
    refuses(&b, "a second clone", "a second clone");
    add_clone(&b), add_exec(&b), add_exec(&b);
    refuses(&b, "a step after the process became its command", "a step after exec");
    add(&b, PARENT, PLAN_ID_MAP, "ttw", "", "", 0u), add_clone(&b), add_exec(&b);
    refuses(&b, "the step needs a child, and there is none yet", "id-map before clone");
    add(&b, PARENT, PLAN_EXEC, "wTT", 0u, argv_true, NULL);
    refuses(&b, "the step does not belong in this list", "exec in the launcher");
    add_clone(&b), add(&b, CHILD, PLAN_CLONE, "qs", (uint64_t)0, 0u);
    refuses(&b, "the step does not belong in this list", "clone in the child");
    add_clone(&b), add(&b, CHILD, PLAN_EXEC_FIFO, ""), add(&b, CHILD, PLAN_EXEC_FIFO, ""), add_exec(&b);
    refuses(&b, "a second exec-fifo", "two exec fifos");
}

static void test_sync(void) {
    struct builder b = {0};
    add_clone(&b), add(&b, PARENT, PLAN_SYNC, "w", 1u), add(&b, CHILD, PLAN_SYNC, "w", 1u), add_exec(&b);
    accepts(&b, "a sync on both sides");
    add_clone(&b), add(&b, CHILD, PLAN_SYNC, "w", 1u), add_exec(&b);
    refuses(&b, "a sync that the parent list does not have", "a sync of the child alone");
    add_clone(&b), add(&b, PARENT, PLAN_SYNC, "w", 1u), add_exec(&b);
    refuses(&b, "a sync that the child list does not have", "a sync of the launcher alone");
    add_clone(&b), add(&b, PARENT, PLAN_SYNC, "w", 1u), add(&b, CHILD, PLAN_SYNC, "w", 2u), add_exec(&b);
    refuses(&b, "sync tokens differ between the lists", "another token");
    add_clone(&b), add(&b, PARENT, PLAN_SYNC, "w", 1u), add_join(&b, 0x00020000),
        add(&b, CHILD, PLAN_JOIN_PID, "s", 8u);
    add(&b, CHILD, PLAN_SYNC, "w", 1u), add_exec(&b);
    refuses(&b, "a sync where the launcher has already ended", "a sync after join-pid");
}

static void test_pid_namespace(void) {
    struct builder b = {0};
    add_clone(&b), add(&b, CHILD, PLAN_JOIN_PID, "s", 8u), add_exec(&b);
    refuses(&b, "a pid namespace of others is joined only outside the host's mount namespace",
            "join-pid in the host's mount namespace");
    add_clone(&b), add_join(&b, 0x00020000), add(&b, CHILD, PLAN_JOIN_PID, "s", 8u), add_exec(&b);
    accepts(&b, "join-pid after joining a mount namespace");
    add_clone(&b), add_join(&b, 0x10000000), add(&b, CHILD, PLAN_JOIN_PID, "s", 8u), add_exec(&b);
    accepts(&b, "join-pid after joining a user namespace");
    add_clone(&b), add_join(&b, 0x20000000), add_exec(&b);
    refuses(&b, "a pid namespace is joined with join-pid", "join of a pid namespace");
}

static void test_values(void) {
    struct builder b = {0};
    add(&b, PARENT, PLAN_CLOSE, "s", 2048u);
    refuses(&b, "a slot number is out of range", "slot 2048");
    add(&b, PARENT, PLAN_CLOSE, "ss", 1u, 1u);
    refuses(&b, "bytes behind the values of a step", "a value too many");
    add(&b, PARENT, PLAN_CLOSE, "");
    refuses(&b, "a value runs past the end of its step", "a value too few");
    add(&b, PARENT, 999, "");
    refuses(&b, "unknown kind of step", "an unknown kind");
    add(&b, PARENT, PLAN_CLOSE, "s+", 1u);
    refuses(&b, "unknown flags", "unknown flags");
    add(&b, PARENT, PLAN_LINK_DELETE, "b", "a\0b", (size_t)4);
    refuses(&b, "malformed string", "a string with a NUL inside");
    add(&b, PARENT, PLAN_LINK_DELETE, "b", "abc", (size_t)3);
    refuses(&b, "malformed string", "a string without NUL");
    add(&b, PARENT, PLAN_LINK_DELETE, "b", "", (size_t)0);
    refuses(&b, "malformed string", "a string without bytes");
    add(&b, PARENT, PLAN_LINK_DELETE, "w", 0xfffffff0u);
    refuses(&b, "malformed string", "a length that wraps");
    add(&b, PARENT, PLAN_WRITE, "sw", 1u, 0xffffffffu);
    refuses(&b, "malformed bytes", "bytes of 4 GiB");
    add_clone(&b), add(&b, CHILD, PLAN_USER, "wwww", 0u, 0u, 0u, 0x40000001u), add_exec(&b);
    refuses(&b, "malformed list", "a count that wraps");
    add_clone(&b), add(&b, CHILD, PLAN_EXEC, "ww", 0u, 0xffffffffu);
    refuses(&b, "malformed list of strings", "4 billion strings");
    add(&b, PARENT, PLAN_WRITE, "sww", 1u, 1u, 0x41414141u);
    refuses(&b, "malformed bytes", "padding that is not zero");
}

static void refuses_header(size_t at, unsigned char value, const char *expected, const char *name) {
    struct builder b = {0};
    size_t len;
    add(&b, PARENT, PLAN_CLOSE, "s", 1u);
    unsigned char *plan = finish(&b, &len);
    plan[at] = value;
    struct plan_view view;
    plan_check(plan, len, &view);
    if (!ok(view.problem && strcmp(view.problem, expected) == 0, "%s", name))
        printf("#   %s\n", view.problem ? view.problem : "accepted");
    free(plan);
}

static void test_header(void) {
    refuses_header(0, 'x', "not a launch plan", "another magic");
    refuses_header(4, 9, "unknown version of the plan format", "another version");
    refuses_header(6, 1, "unknown version of the plan format", "the zero field");
    refuses_header(8, 1, "the plan's length is not what its header says", "another length");
    refuses_header(14, 1, "the plan is too large", "too many steps");
    refuses_header(12, 0, "bytes behind the last step", "fewer steps than there are");
    refuses_header(12, 2, "the list ends in the middle of a step", "more steps than there are");
    struct plan_view view;
    is(plan_check(NULL, 0, &view), -EINVAL, "no bytes at all");
    unsigned char header[20] = {0x50, 0x57, 0x50, 0x4c, 1};
    is(plan_check(header, 19, &view), -EINVAL, "a header cut short");
}

static void test_truncation(void) {
    struct builder b = {0};
    size_t len;
    add(&b, PARENT, PLAN_OPEN, "sstqqq", 16u, PLAN_NO_SLOT, "/etc", (uint64_t)0, (uint64_t)0, (uint64_t)0);
    add_clone(&b), add_exec(&b);
    unsigned char *plan = finish(&b, &len);
    unsigned accepted = 0;
    for (size_t cut = 0; cut < len; cut++) {
        unsigned char *copy = malloc(cut + 1);
        if (!copy)
            abort();
        memcpy(copy, plan, cut);
        if (cut >= 12)
            memcpy(copy + 8, &(uint32_t){(uint32_t)cut}, 4);
        struct plan_view view;
        accepted += plan_check(copy, cut, &view) == 0;
        free(copy);
    }
    free(plan);
    is(accepted, 0, "a plan cut anywhere");
}

int main(void) {
    test_order();
    test_sync();
    test_pid_namespace();
    test_values();
    test_header();
    test_truncation();
    return tap_end();
}
