/* JSON as far as _hubble_known.c goes into it: where a value ends, and what a few plain ones say.

   Sound JSON of plain ASCII without escapes and exponents is gone through; at all else the functions give up, with NULL or
   0. `p` is where to look and `end` where the line ends: nothing at or after `end` is ever read. */

#ifndef HUBBLE_KNOWN_JSON_H
#define HUBBLE_KNOWN_JSON_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#define HAVE_SSE2 1
#endif
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

#define MAX_DEPTH 32

typedef struct {
    const char *at;
    size_t size;
} Span;

#ifdef HAVE_SSE2
static unsigned int lowest_bit(unsigned int bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long index;
    _BitScanForward(&index, bits);
    return (unsigned int)index;
#else
    return (unsigned int)__builtin_ctz(bits);
#endif
}
#endif

/* The closing quote of a string of plain ASCII without escapes that begins here, after its opening quote. */
static const char *string_end(const char *p, const char *end)
{
#ifdef HAVE_SSE2
    const __m128i quote = _mm_set1_epi8('"'), escape = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        /* Signed: bytes from 0x80 on are below a space, too. */
        __m128i odd = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, escape)),
                                   _mm_cmplt_epi8(bytes, space));
        unsigned int found = (unsigned int)_mm_movemask_epi8(odd);
        if (found) {
            p += lowest_bit(found);
            return *p == '"' ? p : NULL;
        }
    }
#endif
    for (; p < end; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"')
            return p;
        if (c == '\\' || c < ' ' || c >= 0x80)
            return NULL;
    }
    return NULL;
}

static const char *blank(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
        p++;
    return p;
}

static const char *digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Past a number without an exponent, which no field of Hubble's has. */
static const char *skip_number(const char *p, const char *end)
{
    const char *start;
    if (p < end && *p == '-')
        p++;
    start = p;
    p = digits(p, end);
    if (p == start || p - start > 18 || (*start == '0' && p - start > 1))
        return NULL;
    if (p < end && *p == '.') {
        start = ++p;
        p = digits(p, end);
        if (p == start || p - start > 18)
            return NULL;
    }
    return p < end && (*p == 'e' || *p == 'E') ? NULL : p;
}

static const char *skip_word(const char *p, const char *end, const char *word, size_t size)
{
    return (size_t)(end - p) >= size && !memcmp(p, word, size) ? p + size : NULL;
}

/* Past a value; NULL for what is unsound, unusual or nested too deeply. */
static const char *skip_value(const char *p, const char *end, int depth)
{
    char close;
    if (p >= end)
        return NULL;
    switch (*p) {
    case '"':
        p = string_end(p + 1, end);
        return p ? p + 1 : NULL;
    case 't':
        return skip_word(p, end, "true", 4);
    case 'f':
        return skip_word(p, end, "false", 5);
    case 'n':
        return skip_word(p, end, "null", 4);
    case '{':
        close = '}';
        break;
    case '[':
        close = ']';
        break;
    default:
        return skip_number(p, end);
    }
    if (!depth)
        return NULL;
    p = blank(p + 1, end);
    if (p < end && *p == close)
        return p + 1;
    for (;;) {
        if (close == '}') {
            if (p >= end || *p != '"' || !(p = string_end(p + 1, end)))
                return NULL;
            p = blank(p + 1, end);
            if (p >= end || *p != ':')
                return NULL;
            p = blank(p + 1, end);
        }
        if (!(p = skip_value(p, end, depth - 1)))
            return NULL;
        p = blank(p, end);
        if (p >= end)
            return NULL;
        if (*p == close)
            return p + 1;
        if (*p != ',')
            return NULL;
        p = blank(p + 1, end);
    }
}

/* The name of a member; what is returned is where its value begins. */
static const char *take_name(const char *p, const char *end, Span *name)
{
    if (p >= end || *p != '"')
        return NULL;
    name->at = p + 1;
    if (!(p = string_end(p + 1, end)))
        return NULL;
    name->size = (size_t)(p - name->at);
    p = blank(p + 1, end);
    return p < end && *p == ':' ? blank(p + 1, end) : NULL;
}

/* Name and value of a member; what is returned is what follows, blanks passed. */
static const char *member(const char *p, const char *end, Span *name, Span *value)
{
    if (!(value->at = take_name(p, end, name)) || !(p = skip_value(value->at, end, MAX_DEPTH)))
        return NULL;
    value->size = (size_t)(p - value->at);
    return blank(p, end);
}

/* From one member to the next: at its name, or NULL. `*done` at the closing brace, with what follows it. */
static const char *next_member(const char *p, const char *end, int *done)
{
    if (p >= end)
        return NULL;
    if (*p == '}') {
        *done = 1;
        return p + 1;
    }
    return *p == ',' ? blank(p + 1, end) : NULL;
}

static int is(const Span *span, const char *text, size_t size)
{
    return span->size == size && !memcmp(span->at, text, size);
}

static int port_of(const Span *value, uint32_t *port)
{
    uint32_t number = 0;
    size_t i;
    if (!value->size || value->size > 5 || (value->at[0] == '0' && value->size > 1))
        return 0;
    for (i = 0; i < value->size; i++) {
        if (value->at[i] < '0' || value->at[i] > '9')
            return 0;
        number = 10 * number + (uint32_t)(value->at[i] - '0');
    }
    *port = number;
    return number <= 0xffff;
}

/* --- times --------------------------------------------------------------------------------------------------------- */

static int two(const char *at)
{
    return at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9' ? 100 : 10 * (at[0] - '0') + at[1] - '0';
}

/* Hours since the epoch of `2021-06-16T16`; -1 for what is no time, or none from 1970 to 2088. */
static int64_t hours_of(const char *at)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int century = two(at), year = 100 * century + two(at + 2), month = two(at + 5), day = two(at + 8), hour = two(at + 11);
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (century > 99 || year < 1970 || year > 2088 || at[4] != '-' || at[7] != '-' || at[10] != 'T')
        return -1;
    if (month < 1 || month > 12 || day < 1 || hour > 23)
        return -1;
    if (day > before[month] - before[month - 1] + (month == 2 && leap))
        return -1;
    /* 2000 is the only century in range, and a leap year: one day in four years, before this one. */
    int64_t days = 365 * (int64_t)(year - 1970) + (year - 1969) / 4 + before[month - 1] + (month > 2 && leap) + day - 1;
    return 24 * days + hour;
}

static int is_before(const char *a, size_t a_size, const char *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order < 0 || (order == 0 && a_size < b_size);
}

#endif
