/* Test Anything Protocol: a test program prints one line per check and the plan at its end. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned tap_count, tap_failed;

__attribute__((format(printf, 2, 3), unused)) static bool ok(bool passed, const char *format, ...) {
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

__attribute__((unused)) static void skip(const char *name, const char *reason) {
    printf("ok %u - %s # SKIP %s\n", ++tap_count, name, reason);
    fflush(stdout);
}

/* Equal numbers, with both shown when they are not. */
__attribute__((unused)) static bool is(long long have, long long want, const char *name) {
    bool passed = ok(have == want, "%s", name);
    if (!passed)
        printf("#   have %lld, want %lld\n", have, want);
    return passed;
}

__attribute__((unused)) static int tap_end(void) {
    printf("1..%u\n", tap_count);
    return tap_failed > 0;
}
