/*
 * Mutated frames through the parser and every reader of values: whatever the bytes, nothing is read beyond
 * them. frame_fuzz --runs N | --seconds S | FILE...     (a file: only that packet, as a crash left it)
 */
#include "../frame.h"
#include "tap.h"
#include <string.h>
#include <time.h>

#define SEED_BYTES 512u

static uint64_t state = 88172645463325252u;
static uint8_t seeds[4][SEED_BYTES];
static size_t seed_lengths[4];

static uint32_t random_u32(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

/* A copy of exactly that size, for the sanitizer; every value is read in every way. */
static void parse(const uint8_t *bytes, size_t length) {
    uint8_t *copy = malloc(length + 1);
    char text[64];
    struct frame frame;
    if (!copy)
        abort();
    memcpy(copy + 1, bytes, length);
    int result = frame_parse(copy + 1, length, &frame);
    for (uint16_t tag = 0; result == 0 && tag < FRAME_TAG_LIMIT; tag++) {
        uint32_t small;
        uint64_t large;
        frame_u32(&frame, tag, &small);
        frame_u64(&frame, tag, &large);
        if (frame_text(&frame, tag, text, sizeof text) == 0 && strlen(text) >= sizeof text)
            abort();
    }
    free(copy);
}

static void add_seed(unsigned index, const struct frame_buffer *frame) {
    memcpy(seeds[index], frame->bytes, frame->length);
    seed_lengths[index] = frame->length;
}

static void make_seeds(void) {
    struct frame_buffer out;
    frame_begin(&out, FRAME_CREATE, 1);
    frame_put_text(&out, TAG_CONTAINER_ID, "0123456789abcdef");
    frame_put_u32(&out, TAG_FLAGS, FLAG_STDIN | FLAG_KILL_CGROUP);
    frame_put_text(&out, TAG_LOG_PATH, "name/0.log");
    frame_put_text(&out, TAG_KILL_PATH, "/sys/fs/cgroup/podwright/x/cgroup.kill");
    add_seed(0, &out);
    frame_begin(&out, FRAME_EXITED, 0);
    frame_put_u32(&out, TAG_EXIT_CODE, 137);
    frame_put_u64(&out, TAG_AT_NS, 1ull << 60);
    frame_put_text(&out, TAG_DETAIL, "");
    add_seed(1, &out);
    frame_begin(&out, FRAME_START, 7);
    add_seed(2, &out);
    frame_begin(&out, FRAME_RESIZE, 8);
    frame_put_u32(&out, TAG_COLUMNS, 80);
    frame_put_u32(&out, TAG_ROWS, 24);
    add_seed(3, &out);
}

/* A few bytes changed, a piece of another seed put in, the end cut off or repeated. */
static void run_once(void) {
    uint8_t bytes[2 * SEED_BYTES];
    unsigned index = random_u32() % 4, other = random_u32() % 4;
    size_t length = seed_lengths[index];
    memcpy(bytes, seeds[index], length);
    for (uint32_t change = random_u32() % 6; change > 0; change--)
        bytes[random_u32() % length] = (uint8_t)(random_u32() % 3 == 0 ? random_u32() % 8 : random_u32());
    if (random_u32() % 4 == 0) {
        memcpy(bytes + length, seeds[other] + FRAME_HEADER_BYTES, seed_lengths[other] - FRAME_HEADER_BYTES);
        length += seed_lengths[other] - FRAME_HEADER_BYTES;
    }
    parse(bytes, random_u32() % 3 == 0 ? random_u32() % (length + 1) : length);
}

static void parse_file(const char *path) {
    static uint8_t bytes[FRAME_MAX_BYTES];
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    parse(bytes, length);
}

int main(int argc, char **argv) {
    bool by_time = argc == 3 && strcmp(argv[1], "--seconds") == 0;
    bool by_count = argc == 3 && strcmp(argv[1], "--runs") == 0;
    if (!by_time && !by_count) {
        for (int i = 1; i < argc; i++)
            parse_file(argv[i]);
        return 0;
    }
    make_seeds();
    unsigned long limit = strtoul(argv[2], NULL, 10), runs = 0;
    time_t end = time(NULL) + (time_t)limit;
    while (by_count ? runs < limit : time(NULL) < end)
        for (unsigned i = 0; i < 1000; i++, runs++)
            run_once();
    ok(true, "%lu mutated frames are read or refused", runs);
    return tap_end();
}
