#include "decode.h"

#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report.h"
#include "ring.h"

enum { INPUT_SIZE = 256 * 1024, PIPE_SIZE = 1024 * 1024 };

static uint8_t input[INPUT_SIZE];
static size_t input_used; /* of the bytes in `input`, consumed */
static size_t input_length;
static uint64_t input_total;

uint64_t decode_consumed(void) {
    return input_total;
}

/* ---- input ---- */

static size_t read_some(uint8_t *buffer, size_t size) {
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buffer, size);
        if (n >= 0) {
            input_total += (uint64_t)n;
            return (size_t)n;
        }
        if (errno != EINTR)
            report_fail("read", errno, "cannot read the layer");
    }
}

/* Fills `buffer` from the stream up to `size` or its end. */
static size_t read_full(uint8_t *buffer, size_t size) {
    size_t used = 0;
    while (used < size) {
        size_t n = read_some(buffer + used, size - used);
        if (n == 0)
            break;
        used += n;
    }
    return used;
}

static bool input_refill(void) {
    input_used = 0;
    input_length = read_some(input, sizeof input);
    return input_length > 0;
}

/* Makes at least `wanted` bytes (a few) available unless the stream ends before. */
static size_t input_peek(size_t wanted) {
    size_t have = input_length - input_used;
    if (have < wanted) {
        memmove(input, input + input_used, have);
        input_used = 0;
        input_length = have + read_full(input + have, wanted - have);
        have = input_length;
    }
    return have;
}

/* ---- plain ---- */

static void decode_plain(void) {
    ring_copy(input + input_used, input_length - input_used);
    for (;;) {
        size_t size;
        uint8_t *room = ring_room(&size);
        size_t n = read_full(room, size);
        if (n == 0)
            return;
        ring_add(n);
    }
}

/* ---- gzip ---- */

static const char *gzip_error(int code) {
    switch (code) {
    case ISAL_INCORRECT_CHECKSUM:
        return "gzip checksum does not match";
    case ISAL_UNSUPPORTED_METHOD:
        return "unknown gzip compression method";
    case ISAL_INVALID_WRAPPER:
        return "invalid gzip header";
    default:
        return "invalid deflate data";
    }
}

static void gzip_member(struct inflate_state *state) {
    isal_inflate_reset(state);
    state->crc_flag = ISAL_GZIP;
    while (state->block_state != ISAL_BLOCK_FINISH) {
        if (input_used == input_length && !input_refill())
            report_fail("decompress", EBADMSG, "gzip stream ends early");
        size_t room;
        state->next_out = ring_room(&room);
        state->avail_out = (uint32_t)room;
        state->next_in = input + input_used;
        state->avail_in = (uint32_t)(input_length - input_used);
        bool filled;
        do {
            uint32_t out_before = state->avail_out;
            int code = isal_inflate(state);
            if (code != ISAL_DECOMP_OK)
                report_fail("decompress", EBADMSG, "%s", gzip_error(code));
            ring_add(out_before - state->avail_out);
            filled = state->avail_out == 0; /* then there may be more without more input */
            if (filled) {
                state->next_out = ring_room(&room);
                state->avail_out = (uint32_t)room;
            }
        } while (state->block_state != ISAL_BLOCK_FINISH && (filled || state->avail_in > 0));
        input_used = input_length - state->avail_in;
    }
}

/* Zero bytes after the last member are padding (tapes, gzip(1)); anything else is no gzip. */
static void gzip_padding(void) {
    do {
        for (; input_used < input_length; input_used++)
            if (input[input_used] != 0)
                report_fail("decompress", EBADMSG, "data after the end of the gzip stream");
    } while (input_refill());
}

static bool gzip_at_member(void) {
    return input_peek(2) >= 2 && input[input_used] == 0x1f && input[input_used + 1] == 0x8b;
}

/* A gzip file is a row of members (RFC 1952 2.2); eStargz has one for each file. */
static void decode_gzip(void) {
    struct inflate_state *state = malloc(sizeof *state);
    if (state == NULL)
        report_fail("malloc", ENOMEM, "no memory for gzip");
    isal_inflate_init(state);
    do
        gzip_member(state);
    while (gzip_at_member());
    gzip_padding();
    free(state);
}

/* ---- zstd ---- */

static la_ssize_t zstd_read(struct archive *archive, void *context, const void **buffer) {
    (void)archive;
    (void)context;
    if (input_used == input_length && !input_refill())
        return 0;
    *buffer = input + input_used;
    la_ssize_t length = (la_ssize_t)(input_length - input_used);
    input_used = input_length;
    return length;
}

/* A skippable frame (RFC 8878 3.1.2) may stand first; libarchive knows a stream only by an ordinary one. */
static bool zstd_skip_frame(void) {
    if (input_peek(8) < 8 || (input[input_used] & 0xf0) != 0x50 || input[input_used + 1] != 0x2a ||
        input[input_used + 2] != 0x4d || input[input_used + 3] != 0x18)
        return false;
    uint64_t left = 8 + ((uint64_t)input[input_used + 4] | (uint64_t)input[input_used + 5] << 8 |
                         (uint64_t)input[input_used + 6] << 16 | (uint64_t)input[input_used + 7] << 24);
    while (left > 0) {
        if (input_used == input_length && !input_refill())
            report_fail("decompress", EBADMSG, "zstd stream ends early");
        size_t have = input_length - input_used;
        size_t n = have < left ? have : (size_t)left;
        input_used += n;
        left -= n;
    }
    return true;
}

/* libarchive's own zstd filter only: the external program that it would start instead is refused. */
static void decode_zstd(void) {
    while (zstd_skip_frame())
        continue;
    if (input_peek(1) == 0)
        return;
    struct archive *archive = archive_read_new();
    if (archive == NULL || archive_read_support_filter_zstd(archive) != ARCHIVE_OK ||
        archive_read_support_format_raw(archive) != ARCHIVE_OK)
        report_fail("decompress", ENOSYS, "libarchive was built without zstd");
    if (archive_read_open(archive, NULL, NULL, zstd_read, NULL) != ARCHIVE_OK)
        report_fail("decompress", EBADMSG, "%s", archive_error_string(archive));
    struct archive_entry *entry;
    int code = archive_read_next_header(archive, &entry);
    if (code == ARCHIVE_EOF)
        return;
    if (code != ARCHIVE_OK || archive_filter_count(archive) != 2)
        report_fail("decompress", EBADMSG, "invalid zstd data");
    for (;;) {
        const void *data;
        size_t length;
        la_int64_t offset;
        code = archive_read_data_block(archive, &data, &length, &offset);
        if (code == ARCHIVE_EOF)
            break;
        if (code != ARCHIVE_OK)
            report_fail("decompress", EBADMSG, "%s", archive_error_string(archive));
        ring_copy(data, length);
    }
    (void)archive_read_free(archive);
}

void decode_run(void) {
    (void)fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE_SIZE);
    size_t have = input_peek(4);
    if (have >= 2 && input[0] == 0x1f && input[1] == 0x8b)
        decode_gzip();
    else if (have == 4 &&
             ((input[0] == 0x28 && input[1] == 0xb5 && input[2] == 0x2f && input[3] == 0xfd) ||
              ((input[0] & 0xf0) == 0x50 && input[1] == 0x2a && input[2] == 0x4d && input[3] == 0x18)))
        decode_zstd();
    else
        decode_plain();
    ring_end();
}
