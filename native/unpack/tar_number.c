#include "tar_number.h"

static bool octal(const uint8_t *field, size_t size, uint64_t *value) {
    size_t i = 0;
    while (i < size && field[i] == ' ')
        i++;
    *value = 0;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
        if (*value >> 60 != 0)
            return false;
        *value = *value << 3 | (uint64_t)(field[i] - '0');
    }
    for (; i < size; i++)
        if (field[i] != ' ' && field[i] != '\0')
            return false;
    return true;
}

/* Two's complement; the first byte's top bit only marks the form, the next one is the sign. */
static bool base256(const uint8_t *field, size_t size, int64_t *value) {
    bool negative = (field[0] & 0x40) != 0;
    uint64_t bits = negative ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = field[i];
        if (i == 0)
            byte = negative ? byte | 0x80 : byte & 0x7f;
        uint64_t lost = bits >> 55; /* what the shift drops, and the sign bit after it, must all be sign */
        if (lost != (negative ? UINT64_MAX >> 55 : 0))
            return false;
        bits = bits << 8 | byte;
    }
    *value = (int64_t)bits;
    return true;
}

bool tar_signed_number(const uint8_t *field, size_t size, int64_t *value) {
    if ((field[0] & 0x80) != 0)
        return base256(field, size, value);
    uint64_t positive;
    if (!octal(field, size, &positive) || positive > INT64_MAX)
        return false;
    *value = (int64_t)positive;
    return true;
}

bool tar_number(const uint8_t *field, size_t size, uint64_t *value) {
    int64_t number;
    if (!tar_signed_number(field, size, &number) || number < 0)
        return false;
    *value = (uint64_t)number;
    return true;
}

bool tar_decimal(const char *text, size_t length, uint64_t *value) {
    if (length == 0 || length > 19)
        return false;
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (uint64_t)(text[i] - '0');
    }
    return *value <= INT64_MAX;
}
