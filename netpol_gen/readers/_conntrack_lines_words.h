/* What a conntrack line is made of, for _conntrack_lines.c: fixed words, numbers, addresses, times.

   Each function takes its piece from the front of what is left of a line and answers whether it was there; where it was
   not, how much was taken is undefined, and the line is given up. Nothing looks at `end` or behind it. */

#ifndef CONNTRACK_LINES_WORDS_H
#define CONNTRACK_LINES_WORDS_H

#include <stdint.h>
#include <string.h>

typedef struct {
    const char *at, *end;
} Text;

typedef struct {
    int wide;            /* whether it is IPv6 */
    uint64_t high, low;  /* an IPv4 address is in `low` */
    const char *written; /* its text, */
    size_t size;         /* and how long that is */
} Address;

#define TAKE(text, literal) take(text, "" literal, sizeof(literal) - 1)

static int take(Text *text, const char *what, size_t size)
{
    if ((size_t)(text->end - text->at) < size || memcmp(text->at, what, size))
        return 0;
    text->at += size;
    return 1;
}

static int is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static int is_printed(char byte)
{
    return byte > ' ' && byte <= '~';
}

/* At most `longest` digits, and no more; `longest` is 18 or less. */
static int take_number(Text *text, int longest, int64_t *value)
{
    const char *begin = text->at;
    int64_t number = 0;
    while (text->at < text->end && is_digit(*text->at)) {
        if (text->at - begin == longest)
            return 0;
        number = number * 10 + (*text->at++ - '0');
    }
    *value = number;
    return text->at > begin;
}

/* Exactly `count` digits; more may follow. */
static int take_digits(Text *text, int count, int64_t *value)
{
    int64_t number = 0;
    if (text->end - text->at < count)
        return 0;
    for (; count; count--, text->at++) {
        if (!is_digit(*text->at))
            return 0;
        number = number * 10 + (*text->at - '0');
    }
    *value = number;
    return 1;
}

/* --- addresses ------------------------------------------------------------------------------------------------------- */

static int take_ipv4(Text *text, Address *found)
{
    uint32_t value = 0;
    int part;
    for (part = 0; part < 4; part++) {
        const char *begin;
        uint32_t octet = 0;
        if (part && !TAKE(text, "."))
            return 0;
        begin = text->at;
        while (text->at < text->end && is_digit(*text->at) && text->at - begin < 3)
            octet = octet * 10 + (uint32_t)(*text->at++ - '0');
        /* With a leading zero it may be meant as octal. */
        if (text->at == begin || octet > 255 || (*begin == '0' && text->at - begin > 1))
            return 0;
        value = value << 8 | octet;
    }
    found->wide = 0;
    found->high = 0;
    found->low = value;
    return 1;
}

static int hexadecimal(char byte)
{
    if (is_digit(byte))
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Up to four hexadecimal digits. */
static int take_group(Text *text, uint16_t *value)
{
    uint32_t number = 0;
    int digits, digit;
    for (digits = 0; digits < 4 && text->at < text->end && (digit = hexadecimal(*text->at)) >= 0; digits++, text->at++)
        number = number << 4 | (uint32_t)digit;
    *value = (uint16_t)number;
    return digits > 0;
}

/* Groups and at most one `::`. With an IPv4 address at its end, or a scope, it is for Python to read. */
static int take_ipv6(Text *text, Address *found)
{
    uint16_t groups[8] = {0}, *last;
    int count = 0, gap = -1, i;
    if (TAKE(text, "::"))
        gap = 0;
    while (count < 8 && take_group(text, &groups[count])) {
        count++;
        if (gap < 0 && TAKE(text, "::"))
            gap = count;
        else if (!TAKE(text, ":"))
            break;
        else if (count == 8 || text->at == text->end || hexadecimal(*text->at) < 0)
            return 0;
    }
    /* `::` stands for one group at least. */
    if (gap < 0 ? count < 8 : count > 7)
        return 0;
    if (gap >= 0 && count > gap) {
        last = groups + 8 - (count - gap);
        memmove(last, groups + gap, (size_t)(count - gap) * sizeof *groups);
        memset(groups + gap, 0, (size_t)(last - groups - gap) * sizeof *groups);
    }
    found->wide = 1;
    found->high = found->low = 0;
    for (i = 0; i < 4; i++) {
        found->high = found->high << 16 | groups[i];
        found->low = found->low << 16 | groups[i + 4];
    }
    return 1;
}

/* An address and the blank behind it. `like`, if given, is one that it is likely to repeat. */
static int take_address(Text *text, Address *found, const Address *like)
{
    Text before = *text;
    if (like && take(text, like->written, like->size) && TAKE(text, " ")) {
        *found = *like;
        return 1;
    }
    *text = before;
    if (!take_ipv4(text, found)) {
        *text = before;
        if (!take_ipv6(text, found))
            return 0;
    }
    found->written = before.at;
    found->size = (size_t)(text->at - before.at);
    return TAKE(text, " ");
}

/* --- times ----------------------------------------------------------------------------------------------------------- */

static int take_name(Text *text, const char *names, int many, int *which)
{
    if (text->end - text->at < 3)
        return 0;
    for (*which = 1; *which <= many; ++*which, names += 3)
        if (!memcmp(text->at, names, 3)) {
            text->at += 3;
            return 1;
        }
    return 0;
}

/* Days since the epoch, with years that begin in March so that the leap day is the last of one. */
static int64_t days_since_epoch(int64_t year, int month, int64_t day)
{
    int64_t of_year;
    year -= month <= 2;
    of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719468;
}

/* `Tue May 29 09:40:13 2018]`: seconds since the epoch, as though it were UTC. */
static int take_clock(Text *text, int64_t *seconds)
{
    static const char days_of[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int weekday, month;
    int64_t year, day, hour, minute, second;
    if (!take_name(text, "MonTueWedThuFriSatSun", 7, &weekday) || !TAKE(text, " ")
        || !take_name(text, "JanFebMarAprMayJunJulAugSepOctNovDec", 12, &month) || !TAKE(text, " "))
        return 0;
    if (!(TAKE(text, " ") ? take_digits(text, 1, &day) : take_digits(text, 2, &day)))
        return 0;
    if (!TAKE(text, " ") || !take_digits(text, 2, &hour) || !TAKE(text, ":") || !take_digits(text, 2, &minute)
        || !TAKE(text, ":") || !take_digits(text, 2, &second) || !TAKE(text, " ") || !take_digits(text, 4, &year)
        || !TAKE(text, "]"))
        return 0;
    if (year < 1971 || day < 1 || hour > 23 || minute > 59 || second > 59)
        return 0;
    if (day > days_of[month - 1] && !(month == 2 && day == 29 && year % 4 == 0 && (year % 100 || year % 400 == 0)))
        return 0;
    *seconds = ((days_since_epoch(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    return 1;
}

#endif
