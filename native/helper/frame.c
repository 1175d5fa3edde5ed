#include "frame.h"
#include <errno.h>
#include <string.h>

#define VALUE_HEADER_BYTES 4u

static size_t padded(size_t length) {
    return (length + 3u) & ~(size_t)3u;
}

static uint16_t read_u16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

int frame_parse(const uint8_t *bytes, size_t length, struct frame *frame) {
    memset(frame, 0, sizeof *frame);
    if (length < FRAME_HEADER_BYTES)
        return -EBADMSG;
    frame->type = read_u16(bytes);
    frame->version = read_u16(bytes + 2);
    memcpy(&frame->request, bytes + 4, sizeof frame->request);
    size_t at = FRAME_HEADER_BYTES;
    while (at < length) {
        if (length - at < VALUE_HEADER_BYTES)
            return -EBADMSG;
        uint16_t tag = read_u16(bytes + at);
        uint16_t value_length = read_u16(bytes + at + 2);
        at += VALUE_HEADER_BYTES;
        if (length - at < padded(value_length))
            return -EBADMSG;
        if (tag < FRAME_TAG_LIMIT)
            frame->values[tag] = (struct frame_value){.bytes = bytes + at, .length = value_length};
        at += padded(value_length);
    }
    return 0;
}

bool frame_has(const struct frame *frame, uint16_t tag) {
    return frame->values[tag].bytes != NULL;
}

static int read_number(const struct frame *frame, uint16_t tag, void *value, size_t size) {
    const struct frame_value *found = &frame->values[tag];
    if (found->bytes == NULL)
        return -ENODATA;
    if (found->length != size)
        return -EBADMSG;
    memcpy(value, found->bytes, size);
    return 0;
}

int frame_u32(const struct frame *frame, uint16_t tag, uint32_t *value) {
    return read_number(frame, tag, value, sizeof *value);
}

int frame_u64(const struct frame *frame, uint16_t tag, uint64_t *value) {
    return read_number(frame, tag, value, sizeof *value);
}

int frame_text(const struct frame *frame, uint16_t tag, char *text, size_t size) {
    const struct frame_value *found = &frame->values[tag];
    if (found->bytes == NULL)
        return -ENODATA;
    if (memchr(found->bytes, 0, found->length) != NULL)
        return -EBADMSG;
    if (found->length >= size)
        return -ENAMETOOLONG;
    memcpy(text, found->bytes, found->length);
    text[found->length] = 0;
    return 0;
}

void frame_begin(struct frame_buffer *out, uint16_t type, uint32_t request) {
    const uint16_t version = FRAME_VERSION;
    memcpy(out->bytes, &type, sizeof type);
    memcpy(out->bytes + 2, &version, sizeof version);
    memcpy(out->bytes + 4, &request, sizeof request);
    out->length = FRAME_HEADER_BYTES;
}

static void put_value(struct frame_buffer *out, uint16_t tag, const void *value, uint16_t length) {
    if (sizeof out->bytes - out->length < VALUE_HEADER_BYTES + padded(length))
        return;
    uint8_t *at = out->bytes + out->length;
    memcpy(at, &tag, sizeof tag);
    memcpy(at + 2, &length, sizeof length);
    memset(at + VALUE_HEADER_BYTES, 0, padded(length));
    memcpy(at + VALUE_HEADER_BYTES, value, length);
    out->length += VALUE_HEADER_BYTES + padded(length);
}

void frame_put_u32(struct frame_buffer *out, uint16_t tag, uint32_t value) {
    put_value(out, tag, &value, sizeof value);
}

void frame_put_u64(struct frame_buffer *out, uint16_t tag, uint64_t value) {
    put_value(out, tag, &value, sizeof value);
}

void frame_put_text(struct frame_buffer *out, uint16_t tag, const char *text) {
    put_value(out, tag, text, (uint16_t)strnlen(text, FRAME_TEXT_MAX));
}
