#include "digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "report.h"

struct digest *digest_open(void) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        report_fail("sha256", ENOSYS, "libcrypto has no SHA-256");
    return (struct digest *)context;
}

void digest_add(struct digest *digest, const void *data, size_t length) {
    if (EVP_DigestUpdate((EVP_MD_CTX *)digest, data, length) != 1)
        report_fail("sha256", EIO, "libcrypto failed");
}

void digest_text(struct digest *digest, char text[DIGEST_TEXT_SIZE]) {
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_DigestFinal_ex((EVP_MD_CTX *)digest, bytes, &length) != 1 || length != 32)
        report_fail("sha256", EIO, "libcrypto failed");
    memcpy(text, "sha256:", 7);
    for (unsigned i = 0; i < length; i++) {
        text[7 + 2 * i] = hex[bytes[i] >> 4];
        text[8 + 2 * i] = hex[bytes[i] & 15];
    }
    text[7 + 2 * length] = '\0';
}
