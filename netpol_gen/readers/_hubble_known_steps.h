/* What stood where in the flow before this one, for _hubble_known.c.

   The flows of an export have the same members in the same order, and most of what they say beside their ends is the
   same, too. To see that it is takes a fraction of the time that going through it does. */

#ifndef HUBBLE_KNOWN_STEPS_H
#define HUBBLE_KNOWN_STEPS_H

#include "_hubble_known_json.h"

#define MAX_STEPS 64
#define STEP_NAME 64
#define STEP_VALUE 448
#define MAX_CHANGES 64 /* in a row; a value that is always another one is not worth keeping */

typedef struct {
    int field; /* which of ours this member is, or -1 */
    uint16_t name_size, value_size; /* 0: nothing kept */
    uint16_t changes;
    char name[STEP_NAME]; /* with its quotes and the colon */
    char value[STEP_VALUE];
} Step;

/* At the value, if the member begins as it did; else NULL. */
static const char *same_name(const Step *step, const char *p, const char *end)
{
    if (!step->name_size || (size_t)(end - p) < step->name_size || memcmp(p, step->name, step->name_size))
        return NULL;
    return blank(p + step->name_size, end);
}

static void keep_name(Step *step, const char *name, const char *value, int field)
{
    size_t size = (size_t)(value - name);
    step->field = field;
    step->value_size = step->changes = 0;
    step->name_size = size > STEP_NAME ? 0 : (uint16_t)size;
    memcpy(step->name, name, step->name_size);
}

/* Past the value, if it is what it was; else NULL. What is kept shows where it ends, so that bytes which begin with it
   are it. */
static const char *same_value(const Step *step, const char *p, const char *end)
{
    if (!step->value_size || (size_t)(end - p) < step->value_size || memcmp(p, step->value, step->value_size))
        return NULL;
    return p + step->value_size;
}

static void keep_value(Step *step, const char *value, const char *stop)
{
    size_t size = (size_t)(stop - value);
    step->value_size = 0;
    if (step->changes == MAX_CHANGES || size > STEP_VALUE || (*value != '"' && *value != '{' && *value != '['))
        return;
    step->changes++;
    step->value_size = (uint16_t)size;
    memcpy(step->value, value, size);
}

/* Past a value that was gone through. */
static const char *step_over(Step *step, const char *p, const char *end)
{
    const char *stop = same_value(step, p, end);
    if (stop) {
        step->changes = 0;
        return stop;
    }
    if ((stop = skip_value(p, end, MAX_DEPTH)))
        keep_value(step, p, stop);
    return stop;
}

#endif
