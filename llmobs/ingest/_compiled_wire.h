/* Protobuf's wire: parts of a message. Every read is checked against the end of its part. */

#include "_compiled.h"

typedef struct {
    const uint8_t *at, *end;
} Part;

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

static inline int varint(Part *part, uint64_t *value) {
    uint64_t found = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (part->at == part->end)
            return ODD;
        uint8_t byte = *part->at++;
        if (shift == 63 && byte > 1)
            return ODD;
        found |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = found;
            return FINE;
        }
    }
    return ODD;
}

static inline int fixed64(Part *part, uint64_t *value) {
    if (part->end - part->at < 8)
        return ODD;
    uint64_t found = 0;
    for (int i = 7; i >= 0; i--)
        found = found << 8 | part->at[i];
    part->at += 8;
    *value = found;
    return FINE;
}

static inline int piece(Part *part, Part *inner) {
    uint64_t length;
    TRY(varint(part, &length));
    if (length > (uint64_t)(part->end - part->at))
        return ODD;
    inner->at = part->at;
    inner->end = part->at += length;
    return FINE;
}

static inline int tag(Part *part, uint32_t *number, int *type) {
    uint64_t value;
    TRY(varint(part, &value));
    if (value > UINT32_MAX || value >> 3 == 0)
        return ODD;
    *number = (uint32_t)(value >> 3);
    *type = (int)(value & 7);
    return FINE;
}
