#pragma once

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_TEXT_SIZE = sizeof "sha256:" + 64 };

/* SHA-256 as text, "sha256:" and 64 hexadecimal digits. */
struct digest;

/* Makes libcrypto load what it needs: to be called before the process is confined. */
struct digest *digest_open(void);
void digest_add(struct digest *digest, const void *data, size_t length);
void digest_text(struct digest *digest, char text[DIGEST_TEXT_SIZE]);
