/*
 * The codec of frames.h: bounds-checked reading, and writing into a fixed buffer. No allocation.
 */
#pragma once
#include "frames.h"
#include <stdbool.h>
#include <stddef.h>

#define FRAME_HEADER_BYTES 8u
#define FRAME_TAG_LIMIT 64u      /* tags from here on are passed over */
#define FRAME_BUFFER_BYTES 4096u /* the longest frame that a monitor sends */
#define FRAME_TEXT_MAX 1024u     /* texts that a monitor sends are cut here */

struct frame_value {
    const uint8_t *bytes; /* NULL: absent */
    uint16_t length;
};

/* A frame as received; the values point into the packet. */
struct frame {
    uint16_t type;
    uint16_t version;
    uint32_t request;
    struct frame_value values[FRAME_TAG_LIMIT];
};

/* 0, or -EBADMSG when lengths do not fit the packet. A tag given twice: the last one counts. */
int frame_parse(const uint8_t *bytes, size_t length, struct frame *frame);

bool frame_has(const struct frame *frame, uint16_t tag);
/* 0; -ENODATA if absent; -EBADMSG if it has another length. */
int frame_u32(const struct frame *frame, uint16_t tag, uint32_t *value);
int frame_u64(const struct frame *frame, uint16_t tag, uint64_t *value);
/* Copies the text with a final NUL: 0; -ENODATA; -EBADMSG if it holds a NUL; -ENAMETOOLONG. */
int frame_text(const struct frame *frame, uint16_t tag, char *text, size_t size);

struct frame_buffer {
    size_t length;
    uint8_t bytes[FRAME_BUFFER_BYTES];
};

void frame_begin(struct frame_buffer *out, uint16_t type, uint32_t request);
/* What does not fit is left out: the callers' frames always fit. */
void frame_put_u32(struct frame_buffer *out, uint16_t tag, uint32_t value);
void frame_put_u64(struct frame_buffer *out, uint16_t tag, uint64_t value);
/* Cut to FRAME_TEXT_MAX. An empty text is sent as one. */
void frame_put_text(struct frame_buffer *out, uint16_t tag, const char *text);
