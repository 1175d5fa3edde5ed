#pragma once

#include <stdbool.h>

/* The ring → descriptor 1, as it is or as gzip. */
void encode_run(bool gzip);
