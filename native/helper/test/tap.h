/* Test Anything Protocol: a test program prints one line per check and the plan at its end. */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

extern unsigned tap_count, tap_failed;

bool ok(bool passed, const char *format, ...) __attribute__((format(printf, 2, 3)));
void skip(const char *name, const char *reason);
/* Equal numbers, with both shown when they are not. */
bool is(long long have, long long want, const char *name);
/* Prints the plan; the exit status. */
int tap_end(void);
