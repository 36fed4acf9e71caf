/* Byte strings by number, for _hubble_known.c: each is kept once, with the hash of a seed that nobody outside knows. */

#ifndef HUBBLE_KNOWN_WORDS_H
#define HUBBLE_KNOWN_WORDS_H

#include <Python.h>

#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

#define NONE UINT32_MAX

typedef struct {
    uint64_t hash;
    size_t offset;
    uint32_t size;
    uint32_t with[3]; /* what goes with it: as the table's owner has it; NONE at first */
} Word;

typedef struct {
    Word *words;
    uint32_t count, room;
    uint32_t *slots; /* numbers of words; NONE where free */
    uint32_t mask;
    char *bytes;
    size_t used, allocated;
} Words;

static uint64_t mixed(uint64_t a, uint64_t b)
{
#if defined(__SIZEOF_INT128__)
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#elif defined(_MSC_VER) && defined(_M_X64)
    uint64_t high, low = _umul128(a, b, &high);
    return low ^ high;
#else
    uint64_t x = (a ^ (b >> 29)) * 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 32) ^ b) * 0xBF58476D1CE4E5B9ULL;
    return x ^ (x >> 31);
#endif
}

static uint64_t eight(const char *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static uint64_t hash_of(const uint64_t seed[2], const char *at, size_t size)
{
    uint64_t hash = seed[0] ^ size;
    char tail[16] = {0};
    for (; size >= 16; at += 16, size -= 16)
        hash = mixed(eight(at) ^ hash, eight(at + 8) ^ seed[1]);
    memcpy(tail, at, size);
    hash = mixed(eight(tail) ^ hash, eight(tail + 8) ^ seed[1]);
    return mixed(hash ^ seed[1], 0x9E3779B97F4A7C15ULL);
}

static int grow_slots(uint32_t **slots, uint32_t *mask)
{
    size_t count = *mask ? 2 * ((size_t)*mask + 1) : 1024;
    uint32_t *fresh = PyMem_Realloc(*slots, count * sizeof(uint32_t));
    if (!fresh)
        return -1;
    memset(fresh, 0xff, count * sizeof(uint32_t));
    *slots = fresh;
    *mask = (uint32_t)(count - 1);
    return 0;
}

static int is_word(const Words *words, uint32_t number, const char *at, size_t size)
{
    const Word *word = &words->words[number];
    return word->size == size && !memcmp(words->bytes + word->offset, at, size);
}

/* The number of these bytes; NONE where they are not kept. */
static uint32_t find_word(const Words *words, uint64_t hash, const char *at, size_t size)
{
    uint32_t slot;
    if (!words->mask)
        return NONE;
    for (slot = (uint32_t)hash & words->mask; words->slots[slot] != NONE; slot = (slot + 1) & words->mask)
        if (words->words[words->slots[slot]].hash == hash && is_word(words, words->slots[slot], at, size))
            break;
    return words->slots[slot];
}

/* The number of these bytes, which are kept if they are new; NONE where memory is short. */
static uint32_t number_of(const uint64_t seed[2], Words *words, const char *at, size_t size)
{
    uint64_t hash = hash_of(seed, at, size);
    uint32_t slot, found = find_word(words, hash, at, size);
    if (found != NONE)
        return found;
    if (words->count == words->room) {
        uint32_t room = words->room ? 2 * words->room : 512;
        Word *fresh = PyMem_Realloc(words->words, room * sizeof(Word));
        if (!fresh)
            return NONE;
        words->words = fresh;
        words->room = room;
    }
    if (words->used + size > words->allocated) {
        size_t allocated = words->allocated + words->allocated / 2 + size + 4096;
        char *fresh = PyMem_Realloc(words->bytes, allocated);
        if (!fresh)
            return NONE;
        words->bytes = fresh;
        words->allocated = allocated;
    }
    if (!words->mask || 2 * words->count >= words->mask) {
        uint32_t number;
        if (grow_slots(&words->slots, &words->mask))
            return NONE;
        for (number = 0; number < words->count; number++) {
            slot = (uint32_t)words->words[number].hash & words->mask;
            while (words->slots[slot] != NONE)
                slot = (slot + 1) & words->mask;
            words->slots[slot] = number;
        }
    }
    slot = (uint32_t)hash & words->mask;
    while (words->slots[slot] != NONE)
        slot = (slot + 1) & words->mask;
    memcpy(words->bytes + words->used, at, size);
    words->words[words->count] = (Word){hash, words->used, (uint32_t)size, {NONE, NONE, NONE}};
    words->used += size;
    words->slots[slot] = words->count;
    return words->count++;
}

static void forget_words(Words *words)
{
    PyMem_Free(words->words);
    PyMem_Free(words->slots);
    PyMem_Free(words->bytes);
    memset(words, 0, sizeof *words);
}

#endif
