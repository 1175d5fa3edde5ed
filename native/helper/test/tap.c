#include "tap.h"
#include <stdarg.h>

unsigned tap_count, tap_failed;

bool ok(bool passed, const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("%sok %u - ", passed ? "" : "not ", ++tap_count);
    vprintf(format, args);
    printf("\n");
    fflush(stdout);
    va_end(args);
    tap_failed += !passed;
    return passed;
}

void skip(const char *name, const char *reason) {
    printf("ok %u - %s # SKIP %s\n", ++tap_count, name, reason);
    fflush(stdout);
}

bool is(long long have, long long want, const char *name) {
    bool passed = ok(have == want, "%s", name);
    if (!passed)
        printf("#   have %lld, want %lld\n", have, want);
    return passed;
}

int tap_end(void) {
    printf("1..%u\n", tap_count);
    return tap_failed > 0;
}
