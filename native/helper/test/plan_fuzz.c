/*
 * Mutates valid plans and report records, and feeds them to plan_check and report_next under the sanitizers.
 * A plan that is accepted is then walked with the readers, as the steps do. plan_fuzz --runs N | --seconds N
 * [--seed N]
 */
#include "../step.h"
#include "builder.h"
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PARENT PLAN_LIST_PARENT
#define CHILD PLAN_LIST_CHILD
#define NONE PLAN_NO_SLOT

static uint64_t state;

/* xorshift64: the seed is printed, so every run can be had again. */
static uint64_t random_bits(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static unsigned char *seed_plan(size_t *len) {
    struct builder b = {0};
    const char *const texts[] = {"one", "", "three", NULL};
    add(&b, PARENT, PLAN_OPEN, "sstqqq", 16u, NONE, "/path", (uint64_t)0, (uint64_t)0, (uint64_t)0);
    add(&b, PARENT, PLAN_OVERLAY, "stTttTq", 17u, "/layers", texts, "/upper", "/work", texts, (uint64_t)0);
    add(&b, PARENT, PLAN_IDMAPPED_OVERLAY, "stTttTqs", 17u, "/layers", texts, "/upper", "/work", texts,
        (uint64_t)0, 18u);
    add(&b, PARENT, PLAN_CLONE, "qs", (uint64_t)0, NONE);
    add(&b, PARENT, PLAN_LINK_VETH, "ttbbw", "a", "b", "123456", (size_t)6, "", (size_t)0, 0u);
    add(&b, PARENT, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_SYNC, "w", 1u);
    add(&b, CHILD, PLAN_JOIN, "sq", 16u, (uint64_t)0x20000);
    add(&b, CHILD, PLAN_JOIN_PID, "s", 16u);
    add(&b, CHILD, PLAN_USER, "wwwg+", 1u, 2u, 3u, 2u, (const uint32_t[]){4, 5});
    add(&b, CHILD, PLAN_SECCOMP, "wbsb", 0u, "12345678", (size_t)8, NONE, "data", (size_t)4);
    add(&b, CHILD, PLAN_EXEC, "wTT", 0u, texts, texts);
    return finish(&b, len);
}

/* A few changes of the kinds that find mistakes: bits, interesting numbers, blocks moved, cut or repeated. */
static size_t mutate(unsigned char *bytes, size_t len, size_t room) {
    static const uint32_t numbers[] = {0, 1, 3, 4, 255, 256, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
    for (unsigned changes = 1 + random_bits() % 4; changes > 0 && len > 8; changes--) {
        size_t at = random_bits() % len, to = random_bits() % len, count = random_bits() % 64;
        switch (random_bits() % 5) {
        case 0:
            bytes[at] ^= (unsigned char)(1u << random_bits() % 8);
            break;
        case 1:
            memcpy(bytes + (at & ~(size_t)3) % (len - 3), &numbers[random_bits() % 10], 4);
            break;
        case 2:
            count = count > len - at ? len - at : count;
            count = count > len - to ? len - to : count;
            memmove(bytes + to, bytes + at, count);
            break;
        case 3:
            len = random_bits() % 8 == 0 ? at : len;
            break;
        default:
            if (len + count <= room && at + count <= len) {
                memmove(bytes + at + count, bytes + at, len - at);
                len += count;
            }
        }
    }
    if (len >= 12 && random_bits() % 4)
        memcpy(bytes + 8, &(uint32_t){(uint32_t)len}, 4);
    return len;
}

/* Walks the lists of an accepted plan; the sanitizer watches the bounds of the copy. */
static uint64_t walk(const struct plan_view *view) {
    uint64_t sum = 0;
    for (int list = 0; list < 2; list++) {
        const unsigned char *at = view->lists[list];
        for (uint32_t i = 0; i < view->counts[list]; i++) {
            struct plan_step step = plan_step_at(at);
            struct plan_values v = {step.payload};
            if (step.kind == PLAN_OVERLAY || step.kind == PLAN_EXEC) {
                sum += plan_u32(&v);
                if (step.kind == PLAN_OVERLAY)
                    sum += strlen(plan_str(&v));
                for (uint32_t left = plan_u32(&v); left > 0; left--)
                    sum += strlen(plan_str(&v));
            }
            for (const unsigned char *byte = step.payload; byte < step.end; byte++)
                sum += *byte;
            sum += strlen(plan_kind_name(step.kind));
            at = step.end;
        }
    }
    return sum;
}

static bool fuzz_plan(const unsigned char *seed, size_t seed_len) {
    unsigned char work[4096];
    memcpy(work, seed, seed_len);
    size_t len = mutate(work, seed_len, sizeof work);
    unsigned char *exact = malloc(len + 1); /* its own allocation, so that one byte too far is seen */
    if (!exact)
        abort();
    memcpy(exact, work, len);
    struct plan_view view;
    bool accepted = plan_check(exact, len, &view) == 0;
    if (accepted && walk(&view) == UINT64_MAX)
        abort();
    free(exact);
    return accepted;
}

static void fuzz_report(int ends[2]) {
    unsigned char record[256] = {REPORT_ERROR, 0, 0, 0, 48, 0, 0, 0};
    struct report r;
    record[0] = (unsigned char)(1 + random_bits() % 4);
    memcpy(record + 24, &(uint32_t){5}, 4);
    memcpy(record + 36, &(uint32_t){12}, 4);
    size_t len = mutate(record, 56, sizeof record);
    if (write(ends[1], record, len) < 0)
        abort();
    while (report_next(ends[0], &r) != -EAGAIN)
        if (memchr(r.text, 0, sizeof r.text) == NULL || memchr(r.syscall, 0, sizeof r.syscall) == NULL)
            abort();
}

int main(int argc, char **argv) {
    uint64_t runs = UINT64_MAX, count = 0, accepted = 0;
    time_t end = 0;
    state = (uint64_t)time(NULL) * 2654435761u + 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--runs") == 0)
            runs = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            end = time(NULL) + atol(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            state = strtoull(argv[i + 1], NULL, 10);
    }
    printf("# seed %llu\n", (unsigned long long)state);
    fflush(stdout);
    int ends[2];
    size_t len;
    unsigned char *seed = seed_plan(&len);
    struct plan_view view;
    ok(plan_check(seed, len, &view) == 0, "the seed is a plan");
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        abort();
    for (; count < runs && (end == 0 || count % 1024 || time(NULL) < end); count++) {
        accepted += fuzz_plan(seed, len);
        if (count % 8 == 0)
            fuzz_report(ends);
    }
    free(seed);
    ok(true, "%llu mutations, %llu of them valid plans", (unsigned long long)count,
       (unsigned long long)accepted);
    return tap_end();
}
