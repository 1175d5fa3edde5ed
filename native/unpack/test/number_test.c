#include <string.h>

#include "../../helper/test/tap.h"
#include "../tar_number.h"

static void reads(const char *field, size_t size, int64_t want, const char *name) {
    int64_t have = 0;
    ok(tar_signed_number((const uint8_t *)field, size, &have) && have == want, "%s is read", name);
}

static void refuses(const char *field, size_t size, const char *name) {
    uint64_t value;
    ok(!tar_number((const uint8_t *)field, size, &value), "%s is refused", name);
}

int main(void) {
    reads("0000644", 8, 0644, "octal");
    reads("    644 ", 8, 0644, "octal with blanks");
    reads("77777777", 8, 077777777, "octal without an end");
    reads("\0\0\0\0\0\0\0", 8, 0, "an empty field");
    reads("\x80\x00\x00\x00\x00\x20\x00\x00", 8, 1 << 21, "base 256");
    reads("\xff\xff\xff\xff\xff\xff\xff\xfe", 8, -2, "negative base 256");
    reads("\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", 12, INT64_MAX, "the greatest number");
    reads("\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\x00\x00", 12, INT64_MIN, "the least number");
    refuses("\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00", 12, "2^63");
    refuses("\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", 12, "2^64");
    refuses("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, "-1 where a size belongs");
    refuses("0000648", 8, "8 as an octal digit");
    refuses("12 34", 8, "two numbers");
    uint64_t value = 0;
    ok(tar_decimal("9223372036854775807", 19, &value) && value == INT64_MAX, "the greatest decimal is read");
    ok(!tar_decimal("9223372036854775808", 19, &value), "a greater one is refused");
    ok(!tar_decimal("", 0, &value) && !tar_decimal("+1", 2, &value) && !tar_decimal("1 ", 2, &value),
       "what is no decimal is refused");
    return tap_end();
}
