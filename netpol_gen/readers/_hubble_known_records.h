/* What _hubble_known.c knows, and whether a record says it again. */

#ifndef HUBBLE_KNOWN_RECORDS_H
#define HUBBLE_KNOWN_RECORDS_H

#include "_hubble_known_json.h"
#include "_hubble_known_steps.h"
#include "_hubble_known_words.h"

#define MAX_FIELDS 64
#define MAX_SHAPE 4096
#define MAX_TIME 30 /* 2021-06-16T16:52:13.123456789 and one to spare */
#define MAX_REASONS 32

/* What a field is to us, in the numbers of hubble_known.py. */
enum { SHAPE, TIME, IP, SOURCE, DESTINATION, LAYER4, NODE, NEVER, MORE, ROLES };

/* What goes with a pair of addresses: what came with it last. With an end, as some address has it: its number. */
enum { LAST_SOURCE, LAST_DESTINATION, LAST_CELL };
enum { END };

/* What the Python reader made of a shape (all that decides what a record means). */
enum { UNKNOWN, ASIDE, MEANT };

typedef struct {
    uint64_t adds;
    uint32_t bits, group, reason;
    uint8_t state, turned, decided;
} Deed;

typedef struct {
    uint32_t pair, source, destination, node, group, server;
    uint32_t more; /* shape of a record that says more of its row than others of the conversation; else NONE */
} Key;

/* One conversation as one node tells it: where its records are counted. */
typedef struct {
    Key key;
    uint32_t row; /* NONE: set aside for `reason` */
    uint32_t reason, bits;
    uint64_t adds, latest;
    uint8_t first_size, last_size; /* of the texts; 0: nothing counted since the last drain */
    char first[MAX_TIME], last[MAX_TIME];
} Cell;

/* What the bytes of a record come to. */
typedef struct {
    Key key; /* group and server follow from the deed */
    uint32_t shape, source_port, destination_port;
    uint64_t client;
    Span when, node;
    uint32_t source_end, destination_end; /* NONE: not known */
} Record;

/* What becomes of a record. */
typedef enum { NO_MEMORY, FOR_PYTHON, COUNTED, NEEDS_ROW } Outcome;

typedef struct {
    const char *name;
    size_t size;
    int role;
} Field;

typedef struct {
    PyObject_HEAD
    uint64_t seed[2];
    PyObject *names; /* keeps the names alive */
    Field fields[MAX_FIELDS];
    int count;
    int slot_of_role[ROLES];
    uint8_t first_by_length[64]; /* 1 + the first field with a name of this length */
    char since[MAX_TIME + 2], until[MAX_TIME + 2];
    size_t since_size, until_size;
    int windowed, outside_reason, outside_counts;

    Words pairs, words, shapes; /* IP objects; endpoints and nodes; all that decides what a record means */
    Words ends;                 /* an endpoint's number and its address */
    Deed *deeds; /* by number of shape */
    uint32_t deeds_room;
    Cell *cells;
    uint32_t cells_count, cells_room;
    uint32_t *cell_slots;
    uint32_t cell_mask;
    Record met; /* the one that Python is looking at */
    int learnable, busy;
    int heavy; /* Whether a cell has counted so much that it is to be drained: replies are above 1 << 40 */
    uint64_t *log;
    size_t logged, log_room;
    uint64_t reasons[MAX_REASONS];
    char hour_text[13];
    uint64_t hour;
    Step steps[MAX_STEPS]; /* the members of the flow before */
} Known;

/* --- cells --------------------------------------------------------------------------------------------------------- */

static uint32_t slot_of(const Known *self, const Key *key)
{
    uint64_t hash = mixed(((uint64_t)key->pair << 32 | key->source) ^ self->seed[0],
                          ((uint64_t)key->destination << 32 | key->node) ^ self->seed[1]);
    hash = mixed(hash ^ ((uint64_t)key->group << 32 | key->server), 0x9E3779B97F4A7C15ULL ^ self->seed[0] ^ key->more);
    uint32_t slot = (uint32_t)hash & self->cell_mask;
    while (self->cell_slots[slot] != NONE && memcmp(&self->cells[self->cell_slots[slot]].key, key, sizeof *key))
        slot = (slot + 1) & self->cell_mask;
    return slot;
}

static uint32_t find_cell(const Known *self, const Key *key)
{
    return self->cell_mask ? self->cell_slots[slot_of(self, key)] : NONE;
}

static Cell *add_cell(Known *self, const Key *key)
{
    uint32_t number;
    if (self->cells_count == self->cells_room) {
        uint32_t room = self->cells_room ? 2 * self->cells_room : 256;
        Cell *fresh = PyMem_Realloc(self->cells, room * sizeof(Cell));
        if (!fresh)
            return NULL;
        self->cells = fresh;
        self->cells_room = room;
    }
    if (!self->cell_mask || 2 * self->cells_count >= self->cell_mask) {
        if (grow_slots(&self->cell_slots, &self->cell_mask))
            return NULL;
        for (number = 0; number < self->cells_count; number++)
            self->cell_slots[slot_of(self, &self->cells[number].key)] = number;
    }
    self->cell_slots[slot_of(self, key)] = self->cells_count;
    Cell *cell = &self->cells[self->cells_count++];
    memset(cell, 0, sizeof *cell);
    cell->key = *key;
    cell->latest = UINT64_MAX;
    return cell;
}

/* Group and server's port of a record whose shape is known; 0 where it has no server. As `fold` of hubble_fold.py. */
static int settle_key(const Deed *deed, Record *record)
{
    uint32_t from = deed->turned ? record->destination_port : record->source_port;
    uint32_t server = deed->turned ? record->source_port : record->destination_port;
    if (!deed->decided) {
        if (!from || !server || from >= 0xffff)
            return 0;
        server |= (from + 1) << 16;
        from = 0;
    }
    record->key.group = deed->group;
    record->key.server = server;
    record->client = from;
    return server > 0;
}

/* --- from a line to its fields ------------------------------------------------------------------------------------- */

static int field_of(const Known *self, const Span *name, int expected)
{
    int i;
    if (expected < self->count && is(name, self->fields[expected].name, self->fields[expected].size))
        return expected;
    if (name->size >= sizeof self->first_by_length || !self->first_by_length[name->size])
        return -1;
    for (i = self->first_by_length[name->size] - 1; i < self->count; i++)
        if (is(name, self->fields[i].name, self->fields[i].size))
            return i;
    return -1;
}

typedef struct {
    Span fields[MAX_FIELDS]; /* without a place: absent */
    uint32_t pair, source, destination; /* numbers of words, as far as they came to light */
} Taken;

/* Past an end that came with these addresses before, if it is the same. Objects show where they end, so that bytes which
   begin with a sound object are that object. */
static const char *guess(const Known *self, uint32_t number, const char *p, const char *end)
{
    if (number == NONE)
        return NULL;
    const Word *word = &self->words.words[number];
    const char *bytes = self->words.bytes + word->offset;
    return *bytes == '{' && (size_t)(end - p) >= word->size && !memcmp(p, bytes, word->size) ? p + word->size : NULL;
}

/* Past the value of a field. */
static const char *take_value(const Known *self, const char *p, const char *end, int role, Taken *taken)
{
    const char *start = p;
    if (taken->pair != NONE && (role == SOURCE || role == DESTINATION)) {
        const Word *pair = &self->pairs.words[taken->pair];
        uint32_t number = pair->with[role == SOURCE ? LAST_SOURCE : LAST_DESTINATION];
        if ((p = guess(self, number, start, end))) {
            *(role == SOURCE ? &taken->source : &taken->destination) = number;
            return p;
        }
    }
    p = skip_value(start, end, MAX_DEPTH);
    if (p && role == IP)
        taken->pair = find_word(&self->pairs, hash_of(self->seed, start, (size_t)(p - start)), start, (size_t)(p - start));
    return p;
}

/* Past a flow. */
static const char *take_flow(Known *self, const char *p, const char *end, Taken *taken)
{
    int done = 0, number = 0, expected = 0;
    if (p >= end || *p != '{')
        return NULL;
    p = blank(p + 1, end);
    for (; !done; number++) {
        if (number == MAX_STEPS)
            return NULL;
        Step *step = &self->steps[number];
        const char *value = same_name(step, p, end);
        if (!value) {
            Span name;
            if (!(value = take_name(p, end, &name)))
                return NULL;
            keep_name(step, p, value, field_of(self, &name, expected));
        }
        int field = step->field, role = field < 0 ? SHAPE : self->fields[field].role;
        if (role == SHAPE || role == MORE || role == NODE)
            p = step_over(step, value, end);
        else
            p = take_value(self, value, end, role, taken);
        if (field >= 0) {
            if (taken->fields[field].at)
                return NULL;
            taken->fields[field] = (Span){value, (size_t)(p - value)};
            expected = field + 1;
        }
        if (!p || !(p = next_member(blank(p, end), end, &done)))
            return NULL;
    }
    return p;
}

/* The flow of a line: of `{"flow": {…}, …}`; `*stop` is where the line ends. 0: give up. */
static int take_line(Known *self, const char *p, const char *end, Taken *taken, const char **stop)
{
    int done = 0, found = 0;
    Span name;
    if (p >= end || *p != '{')
        return 0;
    p = blank(p + 1, end);
    while (!done) {
        if (!(p = take_name(p, end, &name)))
            return 0;
        if (is(&name, "flow", 4)) {
            if (found++)
                return 0;
            p = take_flow(self, p, end, taken);
        } else {
            p = skip_value(p, end, MAX_DEPTH);
        }
        if (!p || !(p = next_member(blank(p, end), end, &done)))
            return 0;
    }
    *stop = p = blank(p, end);
    return found && (p == end || *p == '\n');
}

/* Protocol, ports and flags of `l4`. 0: give up, or another protocol, where *protocol is 'o'. */
static int take_layer4(const Span *l4, char *protocol, uint32_t *source, uint32_t *destination, Span *flags)
{
    const char *end = l4->at + l4->size, *p;
    int done = 0, seen = 0;
    Span name, value;
    *protocol = 0;
    if (!l4->size || l4->at[0] != '{')
        return 0;
    p = blank(l4->at + 1, end);
    if (!(p = member(p, end, &name, &value)) || !(p = next_member(p, end, &done)) || !done)
        return 0;
    *protocol = is(&name, "TCP", 3) ? 't' : is(&name, "UDP", 3) ? 'u' : is(&name, "SCTP", 4) ? 's' : 'o';
    if (*protocol == 'o' || !value.size || value.at[0] != '{')
        return 0;
    end = value.at + value.size;
    p = blank(value.at + 1, end);
    for (done = 0; !done;) {
        if (!(p = member(p, end, &name, &value)) || !(p = next_member(p, end, &done)))
            return 0;
        int which = is(&name, "source_port", 11) ? 1 : is(&name, "destination_port", 16) ? 2 : is(&name, "flags", 5) ? 4 : 0;
        if (seen & which)
            return 0;
        seen |= which;
        if ((which == 1 && !port_of(&value, source)) || (which == 2 && !port_of(&value, destination)))
            return 0;
        if (which == 4)
            *flags = value;
    }
    return (seen & 3) == 3;
}

/* `2021-06-16T16:52:13.5` of a quoted time in UTC; its hour goes to `self->hour`. 0: give up. */
static int take_time(Known *self, const Span *value, Span *when)
{
    const char *at = value->at + 1;
    size_t size = value->size, i;
    if (size < 22 || size > 32 || value->at[0] != '"' || at[size - 3] != 'Z')
        return 0;
    size -= 3; /* quotes and Z */
    if (memcmp(at, self->hour_text, sizeof self->hour_text)) {
        int64_t hour = hours_of(at);
        if (hour < 0)
            return 0;
        self->hour = (uint64_t)hour;
        memcpy(self->hour_text, at, sizeof self->hour_text);
    }
    if (at[13] != ':' || two(at + 14) > 59 || at[16] != ':' || two(at + 17) > 59)
        return 0;
    if (size > 19) {
        if (at[19] != '.' || size == 20)
            return 0;
        for (i = 20; i < size; i++)
            if (at[i] < '0' || at[i] > '9')
                return 0;
    }
    when->at = at;
    when->size = size;
    return 1;
}

/* --- a record ------------------------------------------------------------------------------------------------------ */

static void count(Known *self, Cell *cell, const Record *record)
{
    const Deed *deed = &self->deeds[record->shape];
    const Span *when = &record->when;
    uint64_t number = (uint64_t)cell->row << 36 | self->hour << 16 | record->client;
    if (!cell->first_size || is_before(when->at, when->size, cell->first, cell->first_size)) {
        memcpy(cell->first, when->at, when->size);
        cell->first_size = (uint8_t)when->size;
    }
    if (!cell->last_size || is_before(cell->last, cell->last_size, when->at, when->size)) {
        memcpy(cell->last, when->at, when->size);
        cell->last_size = (uint8_t)when->size;
    }
    cell->adds += deed->adds;
    self->heavy |= cell->adds >> 62 != 0;
    cell->bits |= deed->bits;
    if (number != cell->latest) {
        cell->latest = number;
        self->log[self->logged++] = number;
    }
}

static size_t put(char *shape, size_t size, int field, const Span *value)
{
    shape[size] = (char)field;
    shape[size + 1] = (char)(value->size & 0xff);
    shape[size + 2] = (char)(value->size >> 8);
    memcpy(shape + size + 3, value->at, value->size);
    return size + 3 + value->size;
}

/* The number of an end, which `with` is told and asked for: of these bytes of an endpoint with this address. */
static uint32_t number_of_end(Known *self, uint32_t endpoint, const Span *address)
{
    char key[4 + 64];
    if (address->size > sizeof key - 4)
        return NONE;
    memcpy(key, &endpoint, 4);
    memcpy(key + 4, address->at, address->size);
    return number_of(self->seed, &self->ends, key, 4 + address->size);
}

/* The two addresses of an IP object. 0: give up. */
static int take_addresses(const Words *pairs, uint32_t number, Span *source, Span *destination)
{
    const Word *pair = &pairs->words[number];
    const char *p = pairs->bytes + pair->offset, *end = p + pair->size;
    int done = 0;
    Span name, value;
    source->at = destination->at = NULL;
    if (*p != '{')
        return 0;
    p = blank(p + 1, end);
    while (!done) {
        if (!(p = member(p, end, &name, &value)) || !(p = next_member(p, end, &done)))
            return 0;
        Span *which = is(&name, "source", 6) ? source : is(&name, "destination", 11) ? destination : NULL;
        if (which && (which->at || value.at[0] != '"'))
            return 0;
        if (which)
            *which = value;
    }
    return source->at && destination->at;
}

/* Whether the ends of the record at hand have numbers; they are in it then. */
static int knows_ends(Known *self, Record *record)
{
    Span source, destination;
    uint32_t from, to;
    if (!take_addresses(&self->pairs, record->key.pair, &source, &destination))
        return 0;
    from = number_of_end(self, record->key.source, &source);
    to = number_of_end(self, record->key.destination, &destination);
    if (from == NONE || to == NONE)
        return 0;
    record->source_end = self->ends.words[from].with[END];
    record->destination_end = self->ends.words[to].with[END];
    return record->source_end != NONE && record->destination_end != NONE;
}

/* All that decides what a record means, and what few records have, as a word. 0: too much of it. */
static size_t write_shape(const Known *self, const Span *fields, char protocol, const Span *flags, char *shape)
{
    size_t size = 0;
    int field;
    shape[size++] = protocol;
    for (field = 0; field <= self->count; field++) {
        const Span *value = field < self->count ? &fields[field] : flags;
        int role = field < self->count ? self->fields[field].role : SHAPE;
        if (!value->at || !(role == SHAPE || role == MORE || role == NEVER || (role == LAYER4 && protocol == 'o')))
            continue;
        if (value->size > 0xffff || size + value->size + 3 > MAX_SHAPE)
            return 0;
        size = put(shape, size, field, value);
    }
    return size;
}

/* Whether a field with this role is there. One that is null is: of an `aggregate`, that alone says something. */
static int has(const Known *self, const Span *fields, int role)
{
    int field;
    for (field = 0; field < self->count; field++)
        if (self->fields[field].role == role && fields[field].at)
            return 1;
    return 0;
}

static int is_outside(const Known *self, const Span *when)
{
    return self->windowed
           && (is_before(when->at, when->size, self->since, self->since_size)
               || !is_before(when->at, when->size, self->until, self->until_size));
}

/* Numbers of the ends and so on, and the cell. */
static Outcome take_ends(Known *self, const Taken *taken, Record *made)
{
    const Span *fields = taken->fields, *ip = &fields[self->slot_of_role[IP]];
    const Span *source = &fields[self->slot_of_role[SOURCE]], *destination = &fields[self->slot_of_role[DESTINATION]];
    const Deed *deed = &self->deeds[made->shape];
    Key *key = &made->key;
    /* What one record says beside the conversation, the row has not been told by one that says less or something else. */
    key->more = has(self, fields, MORE) ? made->shape : NONE;
    /* An end that is left out is not one that is empty; a node's name may stand elsewhere. */
    if (!ip->at || !source->at || !destination->at || !made->node.at || made->node.size < 3)
        return FOR_PYTHON;
    key->pair = taken->pair != NONE ? taken->pair : number_of(self->seed, &self->pairs, ip->at, ip->size);
    key->source =
        taken->source != NONE ? taken->source : number_of(self->seed, &self->words, source->at, source->size);
    key->destination = taken->destination != NONE
                           ? taken->destination
                           : number_of(self->seed, &self->words, destination->at, destination->size);
    key->node = number_of(self->seed, &self->words, made->node.at, made->node.size);
    if (key->pair == NONE || key->source == NONE || key->destination == NONE || key->node == NONE)
        return NO_MEMORY;
    self->learnable = 1;
    if (deed->state != MEANT)
        return FOR_PYTHON;
    if (!settle_key(deed, made)) {
        self->learnable = 0;
        return FOR_PYTHON;
    }
    Word *pair = &self->pairs.words[key->pair];
    uint32_t number = pair->with[LAST_CELL];
    if (number == NONE || memcmp(&self->cells[number].key, key, sizeof *key))
        number = find_cell(self, key);
    if (number == NONE)
        return key->more != NONE || !knows_ends(self, made) ? FOR_PYTHON : NEEDS_ROW;
    Cell *cell = &self->cells[number];
    pair->with[LAST_SOURCE] = key->source;
    pair->with[LAST_DESTINATION] = key->destination;
    pair->with[LAST_CELL] = number;
    if (cell->row == NONE)
        self->reasons[cell->reason]++;
    else
        count(self, cell, made);
    return COUNTED;
}

/* A line; `*stop` is where it ends if it is COUNTED. What Python is to look at, or to give a row for, is `met` then. */
static Outcome take_record(Known *self, const char *p, const char *end, const char **stop)
{
    Span flags = {NULL, 0};
    Record *made = &self->met;
    Taken taken;
    char shape[MAX_SHAPE], protocol;
    size_t size;
    self->learnable = 0;
    memset(taken.fields, 0, (size_t)self->count * sizeof(Span));
    taken.pair = taken.source = taken.destination = NONE;
    if (!take_line(self, p, end, &taken, stop))
        return FOR_PYTHON;
    const Span *l4 = &taken.fields[self->slot_of_role[LAYER4]], *time = &taken.fields[self->slot_of_role[TIME]];
    made->node = taken.fields[self->slot_of_role[NODE]];
    made->key.pair = NONE;
    if (!l4->at || !time->at || !take_time(self, time, &made->when) || (made->node.at && made->node.at[0] != '"'))
        return FOR_PYTHON;
    if (!take_layer4(l4, &protocol, &made->source_port, &made->destination_port, &flags) && protocol != 'o')
        return FOR_PYTHON;
    if (has(self, taken.fields, NEVER) || !(size = write_shape(self, taken.fields, protocol, &flags, shape)))
        return FOR_PYTHON;
    made->shape = number_of(self->seed, &self->shapes, shape, size);
    if (made->shape == NONE)
        return NO_MEMORY;
    if (made->shape >= self->deeds_room) {
        uint32_t room = self->shapes.room;
        Deed *fresh = PyMem_Realloc(self->deeds, room * sizeof(Deed));
        if (!fresh)
            return NO_MEMORY;
        memset(fresh + self->deeds_room, 0, (room - self->deeds_room) * sizeof(Deed));
        self->deeds = fresh;
        self->deeds_room = room;
    }
    const Deed *deed = &self->deeds[made->shape];
    if (protocol != 'o' && deed->state != UNKNOWN && is_outside(self, &made->when)) {
        if (!self->outside_counts)
            return FOR_PYTHON;
        self->reasons[self->outside_reason]++;
        return COUNTED;
    }
    if (deed->state == ASIDE) {
        self->reasons[deed->reason]++;
        return COUNTED;
    }
    if (protocol != 'o')
        return take_ends(self, &taken, made);
    self->learnable = 1;
    return FOR_PYTHON;
}

#endif
