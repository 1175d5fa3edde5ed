/*
 * Feeds the tar reader damaged archives: seeds made here, cut, flipped, spliced and with headers whose
 * checksum is put right again, in pieces of every size. Whatever comes in, the reader ends, stays inside its
 * memory (ASan) and what it tells about entries holds together. tar_fuzz [--runs N | --seconds N] [--seed N]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../helper/test/tap.h"
#include "../tar.h"

enum { INPUT_MAX = 64 * 1024, SEEDS = 6 };

static uint64_t random_state;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static size_t random_below(size_t limit) {
    return (size_t)(random_next() % limit);
}

/* ---- seeds ---- */

static uint8_t seeds[SEEDS][INPUT_MAX];
static size_t seed_lengths[SEEDS];

static void fix_checksum(uint8_t *block) {
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += block[i];
    (void)snprintf((char *)block + 148, 8, "%06o", sum);
}

static void add(int seed, char type, const char *name, const char *link, const void *data, size_t length) {
    uint8_t *block = seeds[seed] + seed_lengths[seed];
    (void)snprintf((char *)block, 100, "%s", name);
    (void)snprintf((char *)block + 100, 8, "%07o", 0644u);
    (void)snprintf((char *)block + 108, 8, "%07o", 1000u);
    (void)snprintf((char *)block + 116, 8, "%07o", 1000u);
    (void)snprintf((char *)block + 124, 12, "%011zo", length);
    (void)snprintf((char *)block + 136, 12, "%011o", 1700000000u);
    block[156] = (uint8_t)type;
    (void)snprintf((char *)block + 157, 100, "%s", link);
    memcpy(block + 257, "ustar\00000", 8);
    if (length > 0)
        memcpy(block + 512, data, length);
    fix_checksum(block);
    seed_lengths[seed] += 512 + (length + 511) / 512 * 512;
}

static void add_text(int seed, char type, const char *name, const char *text) {
    add(seed, type, name, "", text, strlen(text));
}

static void add_old_sparse(int seed) {
    uint8_t *block = seeds[seed] + seed_lengths[seed];
    add(seed, 'S', "sparse", "", "0123456789", 10);
    memcpy(block + 257, "ustar  ", 8);
    (void)snprintf((char *)block + 386, 12, "%011o", 512u);
    (void)snprintf((char *)block + 398, 12, "%011o", 10u);
    (void)snprintf((char *)block + 483, 12, "%011o", 4096u);
    fix_checksum(block);
}

static void make_seeds(void) {
    add_text(0, '0', "file", "content of a file");
    add(0, '1', "hard", "file", NULL, 0);
    add(0, '2', "sym", "../file", NULL, 0);
    add(0, '5', "dir/", "", NULL, 0);
    add(0, '3', "null", "", NULL, 0);
    add(0, '6', "fifo", "", NULL, 0);
    add_text(1, 'x', "pax", "15 path=long/x\n20 mtime=-17.000001\n13 uid=70000\n26 SCHILY.xattr.user.a=bc\n");
    add_text(1, '0', "short", "0123456789");
    add_text(2, 'L', "././@LongLink", "a/long/name/that/is/quite/long");
    add_text(2, 'K', "././@LongLink", "a/long/target");
    add(2, '2', "short", "short", NULL, 0);
    add_old_sparse(3);
    add_text(
        4, 'x', "pax",
        "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n21 GNU.sparse.name=x\n28 GNU.sparse.realsize=2000\n");
    uint8_t data[522] = "1\n100\n10\n";
    memcpy(data + 512, "0123456789", 10);
    add(4, '0', "GNUSparseFile.0/x", "", data, sizeof data);
    add_text(5, 'x', "pax", "24 GNU.sparse.size=2000\n36 GNU.sparse.map=0,5,1000,5,2000,0\n");
    add_text(5, '0', "x", "0123456789");
    add_text(5, 'g', "pax", "13 comment=x\n");
    for (int i = 0; i < SEEDS; i++)
        seed_lengths[i] += 1024;
}

/* ---- one run ---- */

struct feed {
    const uint8_t *data;
    size_t left, piece;
};

static const uint8_t *feed_next(void *context, size_t *length) {
    struct feed *feed = context;
    if (feed->left == 0)
        return NULL;
    const uint8_t *data = feed->data;
    *length = feed->left < feed->piece ? feed->left : feed->piece;
    feed->data += *length;
    feed->left -= *length;
    return data;
}

/* The sum of all bytes told, so that the sanitizer sees each of them read. */
static uint64_t touched;

static bool read_data(struct tar_reader *reader, const struct tar_entry *entry) {
    const uint8_t *data;
    size_t length;
    uint64_t offset, end = 0;
    int status;
    while ((status = tar_data(reader, &data, &length, &offset)) > 0) {
        if (length == 0 || offset < end || offset > entry->size || length > entry->size - offset)
            return false;
        end = offset + length;
        touched += data[0] + data[length - 1];
    }
    return status == 0 || tar_error(reader) != NULL;
}

static bool entry_holds(const struct tar_entry *entry) {
    if (strlen(entry->path) >= TAR_PATH_LIMIT || strlen(entry->link) >= TAR_PATH_LIMIT ||
        entry->size > INT64_MAX)
        return false;
    if (entry->modified.tv_nsec < 0 || entry->modified.tv_nsec > 999999999 || entry->mode > 07777)
        return false;
    for (size_t i = 0; i < entry->xattr_count; i++) {
        touched += strlen(entry->xattrs[i].name);
        if (entry->xattrs[i].length > 0)
            touched += entry->xattrs[i].value[entry->xattrs[i].length - 1];
    }
    return true;
}

/* Returns how many entries were read, or -1 if something did not hold. */
static int read_archive(const uint8_t *data, size_t length, size_t piece) {
    struct feed feed = {.data = data, .left = length, .piece = piece};
    struct tar_reader *reader = tar_open((struct tar_source){.next = feed_next, .context = &feed});
    struct tar_entry entry;
    int status, entries = 0;
    bool holds = true;
    while (holds && (status = tar_next(reader, &entry)) > 0) {
        entries++;
        holds = entry_holds(&entry) && (random_below(4) == 0 || read_data(reader, &entry));
    }
    if (holds && status < 0)
        holds = tar_error(reader) != NULL;
    tar_drain(reader);
    tar_close(reader);
    return holds ? entries : -1;
}

/* ---- damage ---- */

static uint8_t *input;
static size_t input_length;

static void start_from_seed(void) {
    size_t seed = random_below(SEEDS);
    memcpy(input, seeds[seed], seed_lengths[seed]);
    input_length = seed_lengths[seed];
}

static void damage_once(void) {
    size_t at = random_below(input_length), block = at / 512 * 512;
    switch (random_below(7)) {
    case 0:
        input[at] = (uint8_t)random_next();
        break;
    case 1:
        input[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 2:
        input_length = at + 1;
        break;
    case 3: { /* another seed behind the front of this one */
        size_t seed = random_below(SEEDS);
        if (block + seed_lengths[seed] <= INPUT_MAX) {
            memcpy(input + block, seeds[seed], seed_lengths[seed]);
            input_length = block + seed_lengths[seed];
        }
        break;
    }
    case 4: /* a number field */
        (void)snprintf((char *)input + block + 124, 12, "%011zo", random_below(4096));
        break;
    case 5:
        memset(input + at, random_below(2) == 0 ? 0xff : '7',
               input_length - at < 12 ? input_length - at : 12);
        break;
    default:
        input[block + 156] = (uint8_t) "0123456xgLKS7"[random_below(13)];
    }
    if (block + 512 <= input_length && random_below(3) != 0)
        fix_checksum(input + block);
}

static void run_once(unsigned *failures) {
    start_from_seed();
    for (size_t i = 1 + random_below(6); i > 0; i--)
        damage_once();
    uint8_t *exact = malloc(input_length); /* so that one byte too far is seen */
    memcpy(exact, input, input_length);
    if (read_archive(exact, input_length, 1 + random_below(2000)) < 0)
        (*failures)++;
    free(exact);
}

int main(int argc, char **argv) {
    uint64_t runs = 100000, seed = 1;
    time_t until = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--runs") == 0)
            runs = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0)
            until = time(NULL) + (time_t)strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
    }
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    input = calloc(1, INPUT_MAX + 512);
    make_seeds();
    static const int entries[SEEDS] = {6, 1, 1, 1, 1, 1};
    for (int i = 0; i < SEEDS; i++)
        is(read_archive(seeds[i], seed_lengths[i], 512), entries[i], "undamaged archive is read");
    unsigned failures = 0;
    for (uint64_t i = 0; until != 0 ? time(NULL) < until : i < runs; i++)
        run_once(&failures);
    is(failures, 0, "what is told of damaged archives holds together");
    return tap_end();
}
