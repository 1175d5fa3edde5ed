/*
 * The frame codec: what it reads, what it refuses, and that no bytes make it read beyond them. With files as
 * arguments it only parses those, for a fuzzer or a crash to look at.
 */
#include "../frame.h"
#include "tap.h"
#include <errno.h>
#include <string.h>

/* Parses a copy of exactly that size, so that the sanitizer sees every byte too far. */
static int parse_copy(const uint8_t *bytes, size_t length) {
    uint8_t *copy = malloc(length + 1);
    struct frame frame;
    if (!copy)
        abort();
    memcpy(copy + 1, bytes, length);
    int result = frame_parse(copy + 1, length, &frame);
    free(copy);
    return result;
}

static void fill(struct frame_buffer *out) {
    frame_begin(out, FRAME_CREATE, 0xfffffffe);
    frame_put_text(out, TAG_CONTAINER_ID, "abc");
    frame_put_u32(out, TAG_FLAGS, 7);
    frame_put_text(out, TAG_LOG_PATH, "");
    frame_put_u64(out, TAG_AT_NS, 1ull << 60);
}

static void test_round_trip(void) {
    struct frame_buffer out;
    struct frame frame;
    char text[16];
    uint32_t flags;
    uint64_t at;
    fill(&out);
    is(frame_parse(out.bytes, out.length, &frame), 0, "what was written is read");
    ok(frame.type == FRAME_CREATE && frame.version == FRAME_VERSION && frame.request == 0xfffffffe,
       "the header");
    ok(frame_text(&frame, TAG_CONTAINER_ID, text, sizeof text) == 0 && strcmp(text, "abc") == 0, "a text");
    ok(frame_u32(&frame, TAG_FLAGS, &flags) == 0 && flags == 7, "a number");
    ok(frame_u64(&frame, TAG_AT_NS, &at) == 0 && at == 1ull << 60, "a long number");
    ok(frame_text(&frame, TAG_LOG_PATH, text, sizeof text) == 0 && text[0] == 0, "an empty text");
    is(frame_u32(&frame, TAG_SIGNAL, &flags), -ENODATA, "an absent value is told from one");
    is(frame_u32(&frame, TAG_AT_NS, &flags), -EBADMSG, "a number of another size is refused");
    is(frame_text(&frame, TAG_CONTAINER_ID, text, 3), -ENAMETOOLONG, "a text that does not fit is refused");
    is(frame_text(&frame, TAG_FLAGS, text, sizeof text), -EBADMSG, "a text with a NUL is refused");
}

static void test_cut(void) {
    struct frame_buffer out;
    unsigned accepted = 0;
    fill(&out);
    for (size_t length = 0; length < out.length; length++)
        accepted += parse_copy(out.bytes, length) == 0;
    is(accepted, 4, "a frame cut anywhere but between two values is refused");
}

static void test_full(void) {
    struct frame_buffer out;
    char text[FRAME_TEXT_MAX + 100];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    frame_begin(&out, FRAME_LOG, 1);
    for (int i = 0; i < 10; i++)
        frame_put_text(&out, TAG_MESSAGE, text);
    ok(out.length <= sizeof out.bytes, "texts are cut and what does not fit is left out");
    is(parse_copy(out.bytes, out.length), 0, "and the frame is still one");
}

int main(void) {
    test_round_trip();
    test_cut();
    test_full();
    return tap_end();
}
