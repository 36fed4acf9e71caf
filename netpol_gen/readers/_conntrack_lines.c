/* Conntrack text taken apart: the grammar of a line, and nothing of what it means.

   A line that is exactly as conntrack or /proc/net/nf_conntrack writes it becomes a row of numbers. Every other one is left
   to the tolerant reader (conntrack_line.py): another order, a paste, a field twice, an address in an unusual form, any
   byte that is not printable ASCII.

   So the rule to keep is: never accept what the tolerant reader would refuse or read otherwise. Where in doubt, give up
   (OTHER): that costs time and nothing else. Input is hostile: a line is looked at between its two ends only, what is
   written goes to places that the caller made and is counted against their size, and the one table has a fixed size. */

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>

#include "_conntrack_lines_words.h"

#define VERSION 1 /* of what this module and conntrack_lines.py say to each other */
#define MAX_STATES 32
#define SLOTS (1u << 15)
#define PROBES 8

enum {
    LINE, PROTOCOL, CLIENT, DIALLED, CLIENT_PORT, DIALLED_PORT, SERVER, SERVER_PORT, SEEN_AS, SEEN_PORT, KEPT,
};

enum {
    STATE, UNREPLIED, ASSURED, EVENT, STAMP, START, STOP, AGE, PACKETS, OCTETS, PACKETS_BACK, OCTETS_BACK, USED,
};

enum kind { BLANK, ENTRY, ICMP, OTHER };

#define ICMP_CODE 3

typedef struct {
    int64_t kept[KEPT], used[USED];
    Address source[2], destination[2]; /* of the original tuple, and of the reply */
} Row;

typedef struct {
    const char *word;
    size_t size;
} Word;

/* What the caller tells, and where what is found goes. */
typedef struct {
    Word states[MAX_STATES];
    int state_count, state; /* `state` is the one met last */
    long long longest, last_second, unknown_time;
    int64_t *kept, *used, *others;
    uint64_t *wide; /* IPv6 addresses, each once, or almost */
    Py_ssize_t rows, row_room, other_count, other_room, wide_count, wide_room, records, line;
    uint32_t *slots; /* numbers of addresses in `wide`, plus one, by hash */
} Scan;

/* --- a line ---------------------------------------------------------------------------------------------------------- */

/* `[1795387971.765385]` and a tab, as `-o timestamp` prints it. */
static int take_stamp(const Scan *scan, Text *text, int64_t *stamp)
{
    int64_t seconds, micro;
    if (text->end - text->at < 2 || *text->at != '[' || !is_digit(text->at[1]))
        return 1;
    if (!TAKE(text, "[") || !take_digits(text, 10, &seconds) || !TAKE(text, ".") || !take_digits(text, 6, &micro)
        || !TAKE(text, "]\t") || seconds >= scan->last_second)
        return 0;
    *stamp = seconds * 1000000000 + micro * 1000;
    return 1;
}

static int take_protocol(Text *text, int64_t *protocol)
{
    if (TAKE(text, "tcp      6 "))
        *protocol = 0;
    else if (TAKE(text, "udp      17 "))
        *protocol = 1;
    else if (TAKE(text, "sctp     132 "))
        *protocol = 2;
    else if (TAKE(text, "icmp     1 ") || TAKE(text, "icmpv6   58 "))
        *protocol = ICMP_CODE;
    else
        return 0;
    return 1;
}

/* A state and the blank behind it, or neither. */
static int take_state(Scan *scan, Text *text, int64_t *state)
{
    const Word *word = &scan->states[scan->state];
    Text before = *text;
    int i;
    *state = 0;
    if (text->at < text->end && *text->at == 's')
        return 1;
    if (take(text, word->word, word->size) && TAKE(text, " ")) {
        *state = scan->state + 1;
        return 1;
    }
    for (i = 0; i < scan->state_count; i++) {
        *text = before;
        word = &scan->states[i];
        if (take(text, word->word, word->size) && TAKE(text, " ")) {
            scan->state = i;
            *state = i + 1;
            return 1;
        }
    }
    return 0;
}

/* What stands before the tuples, all of which but the protocol may be absent. */
static int take_head(Scan *scan, Text *text, Row *row)
{
    int64_t timeout;
    row->used[STAMP] = scan->unknown_time;
    if (!take_stamp(scan, text, &row->used[STAMP]))
        return 0;
    row->used[EVENT] = TAKE(text, "    [NEW] ") ? 1 : TAKE(text, " [UPDATE] ") ? 2 : TAKE(text, "[DESTROY] ") ? 3 : 0;
    if (!TAKE(text, "ipv4     2 "))
        TAKE(text, "ipv6     10 ");
    if (!take_protocol(text, &row->kept[PROTOCOL]))
        return 0;
    if (text->at < text->end && is_digit(*text->at) && !(take_number(text, 7, &timeout) && TAKE(text, " ")))
        return 0;
    return take_state(scan, text, &row->used[STATE]);
}

/* A tuple without the blank behind it. The client is likely to be what the server sees, and so on. */
static int take_tuple(Text *text, Row *row, int back)
{
    static const int ports[2][2] = {{CLIENT_PORT, DIALLED_PORT}, {SERVER_PORT, SEEN_PORT}};
    int64_t *source_port = &row->kept[ports[back][0]], *destination_port = &row->kept[ports[back][1]];
    int64_t *packets = &row->used[back ? PACKETS_BACK : PACKETS], *octets = &row->used[back ? OCTETS_BACK : OCTETS];
    if (!TAKE(text, "src=") || !take_address(text, &row->source[back], back ? &row->destination[0] : NULL)
        || !TAKE(text, "dst=") || !take_address(text, &row->destination[back], back ? &row->source[0] : NULL)
        || !TAKE(text, "sport=") || !take_number(text, 5, source_port) || *source_port > 65535
        || !TAKE(text, " dport=") || !take_number(text, 5, destination_port) || *destination_port > 65535)
        return 0;
    *packets = *octets = -1;
    if (!TAKE(text, " packets="))
        return 1;
    return take_number(text, 15, packets) && TAKE(text, " bytes=") && take_number(text, 15, octets);
}

/* `start=` or `stop=` and its time, each at most once. */
static int take_time(const Scan *scan, Text *text, int64_t *time)
{
    int64_t seconds;
    if (*time != scan->unknown_time || !take_clock(text, &seconds) || seconds < 0 || seconds >= scan->last_second)
        return 0;
    *time = seconds * 1000000000;
    return 1;
}

/* A word that says nothing here: anything printed but a bracket. A field of a tuple is none behind both. */
static int take_word(Text *text)
{
    const char *begin = text->at;
    while (text->at < text->end && is_printed(*text->at) && *text->at != '[' && *text->at != ']')
        text->at++;
    return text->at > begin;
}

static int take_tail_word(const Scan *scan, Text *text, Row *row)
{
    if (*text->at == '[') {
        if (TAKE(text, "[ASSURED]") || TAKE(text, "[OFFLOAD]") || TAKE(text, "[HW_OFFLOAD]")) {
            row->used[ASSURED] = 1;
            return 1;
        }
        if (TAKE(text, "[start="))
            return take_time(scan, text, &row->used[START]);
        if (TAKE(text, "[stop="))
            return take_time(scan, text, &row->used[STOP]);
        return TAKE(text, "[USERSPACE]");
    }
    if (TAKE(text, "delta-time="))
        return row->used[AGE] < 0 && take_number(text, 7, &row->used[AGE]);
    return take_word(text);
}

/* What stands behind the tuples, up to the end of the line. */
static int take_tail(const Scan *scan, Text *text, Row *row)
{
    row->used[ASSURED] = 0;
    row->used[START] = row->used[STOP] = scan->unknown_time;
    row->used[AGE] = -1;
    while (text->at < text->end) {
        if (!TAKE(text, " "))
            return 0;
        if (text->at < text->end && !take_tail_word(scan, text, row))
            return 0;
    }
    return 1;
}

static int take_value(Text *text)
{
    while (text->at < text->end && is_printed(*text->at))
        text->at++;
    return 1;
}

/* Two tuples of ICMP, of type, code and id in place of ports: what is read of them is that they are there. */
static int take_echo(Text *text)
{
    if (!TAKE(text, "src=") || !take_value(text) || !TAKE(text, " dst=") || !take_value(text)
        || !TAKE(text, " type=") || !take_value(text) || !TAKE(text, " code=") || !take_value(text)
        || !TAKE(text, " id=") || !take_value(text))
        return 0;
    if (TAKE(text, " packets=") && !(take_value(text) && TAKE(text, " bytes=") && take_value(text)))
        return 0;
    TAKE(text, " [UNREPLIED]");
    return TAKE(text, " src=");
}

static int is_blank(Text text)
{
    while (text.at < text.end && (*text.at == ' ' || (*text.at >= '\t' && *text.at <= '\r')))
        text.at++;
    return text.at == text.end;
}

static enum kind read_line(Scan *scan, Text text, Row *row)
{
    if (text.at == text.end || (*text.at <= ' ' && is_blank(text)))
        return BLANK;
    if (text.end - text.at > scan->longest)
        return OTHER;
    if (text.end[-1] == '\r')
        text.end--;
    if (!take_head(scan, &text, row))
        return OTHER;
    if (row->kept[PROTOCOL] == ICMP_CODE)
        return take_echo(&text) ? ICMP : OTHER;
    if (!take_tuple(&text, row, 0) || !TAKE(&text, " "))
        return OTHER;
    row->used[UNREPLIED] = TAKE(&text, "[UNREPLIED] ");
    if (!take_tuple(&text, row, 1) || (row->used[PACKETS] < 0) != (row->used[PACKETS_BACK] < 0))
        return OTHER;
    return take_tail(scan, &text, row) ? ENTRY : OTHER;
}

/* --- what is found --------------------------------------------------------------------------------------------------- */

/* The number of an IPv6 address. The table only spares the caller work: one that finds no slot is told again. */
static int64_t number_of(Scan *scan, const Address *address)
{
    uint64_t hash = (address->high ^ (address->high >> 32)) * 0x9E3779B97F4A7C15u + address->low;
    uint32_t slot, probe;
    hash = (hash ^ (hash >> 29)) * 0xBF58476D1CE4E5B9u;
    slot = (uint32_t)(hash >> 40);
    for (probe = 0; probe < PROBES; probe++) {
        uint32_t *number = &scan->slots[(slot + probe) % SLOTS];
        if (!*number || probe == PROBES - 1) {
            scan->wide[2 * scan->wide_count] = address->high;
            scan->wide[2 * scan->wide_count + 1] = address->low;
            *number = (uint32_t)++scan->wide_count;
            return scan->wide_count - 1;
        }
        if (scan->wide[2 * (size_t)(*number - 1)] == address->high && scan->wide[2 * (size_t)(*number - 1) + 1] == address->low)
            return *number - 1;
    }
    return 0; /* never: the last probe returns */
}

/* IPv4 addresses are their own value; the numbers of others come after all of these. */
static int64_t code_of(Scan *scan, const Address *address)
{
    return address->wide ? ((int64_t)1 << 32) + number_of(scan, address) : (int64_t)address->low;
}

static int keep(Scan *scan, Row *row)
{
    int i;
    if (scan->rows == scan->row_room || scan->wide_room - scan->wide_count < 4)
        return 0;
    row->kept[LINE] = scan->line;
    row->kept[CLIENT] = code_of(scan, &row->source[0]);
    row->kept[DIALLED] = code_of(scan, &row->destination[0]);
    row->kept[SERVER] = code_of(scan, &row->source[1]);
    row->kept[SEEN_AS] = code_of(scan, &row->destination[1]);
    for (i = 0; i < KEPT; i++)
        scan->kept[i * scan->row_room + scan->rows] = row->kept[i];
    for (i = 0; i < USED; i++)
        scan->used[i * scan->row_room + scan->rows] = row->used[i];
    scan->rows++;
    return 1;
}

static int leave(Scan *scan, int64_t begin, int64_t end)
{
    if (scan->other_count == scan->other_room)
        return 0;
    scan->others[scan->other_count] = scan->line;
    scan->others[scan->other_room + scan->other_count] = begin;
    scan->others[2 * scan->other_room + scan->other_count] = end;
    scan->other_count++;
    return 1;
}

/* Whether there was room for all. */
static int scan_block(Scan *scan, const char *block, Py_ssize_t size)
{
    const char *at = block, *end = block + size;
    Row row = {0};
    for (; at < end; scan->line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        Text text = {at, newline ? newline : end};
        enum kind kind = read_line(scan, text, &row);
        at = newline ? newline + 1 : end;
        scan->records += kind != BLANK;
        if (kind == BLANK || (kind == ENTRY && keep(scan, &row)))
            continue;
        if (!(kind == ICMP ? leave(scan, -1, -1) : leave(scan, text.at - block, text.end - block)))
            return 0;
    }
    return 1;
}

/* --- the function ---------------------------------------------------------------------------------------------------- */

static int take_states(Scan *scan, PyObject *states)
{
    Py_ssize_t count = PyTuple_Size(states), i;
    if (count < 1 || count > MAX_STATES) {
        PyErr_SetString(PyExc_ValueError, "1 to 32 states");
        return 0;
    }
    for (i = 0; i < count; i++) {
        char *word;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(states, i), &word, &size) < 0)
            return 0;
        scan->states[i] = (Word){word, (size_t)size};
    }
    scan->state_count = (int)count;
    return 1;
}

/* How many columns of `width` 64-bit numbers go into a buffer; -1 where that is no whole number. */
static Py_ssize_t room_in(const Py_buffer *buffer, Py_ssize_t width)
{
    if (buffer->len % (width * 8) || (buffer->len && (uintptr_t)buffer->buf % 8)) {
        PyErr_SetString(PyExc_ValueError, "a buffer of another size or alignment");
        return -1;
    }
    return buffer->len / (width * 8);
}

static PyObject *scan_into(Scan *scan, const Py_buffer *block, Py_buffer *buffers)
{
    static const Py_ssize_t widths[4] = {KEPT, USED, 3, 2};
    Py_ssize_t rooms[4];
    int i, done;
    for (i = 0; i < 4; i++)
        if ((rooms[i] = room_in(&buffers[i], widths[i])) < 0)
            return NULL;
    scan->kept = buffers[0].buf;
    scan->used = buffers[1].buf;
    scan->others = buffers[2].buf;
    scan->wide = buffers[3].buf;
    scan->row_room = rooms[0];
    scan->other_room = rooms[2];
    scan->wide_room = rooms[3] < INT32_MAX ? rooms[3] : INT32_MAX;
    if (rooms[0] != rooms[1]) {
        PyErr_SetString(PyExc_ValueError, "buffers for different numbers of rows");
        return NULL;
    }
    scan->slots = PyMem_Calloc(SLOTS, sizeof *scan->slots);
    if (!scan->slots)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    done = scan_block(scan, block->buf, block->len);
    Py_END_ALLOW_THREADS
    PyMem_Free(scan->slots);
    if (!done) {
        PyErr_SetString(PyExc_ValueError, "more lines than there is room for");
        return NULL;
    }
    return Py_BuildValue("nnnn", scan->rows, scan->other_count, scan->wide_count, scan->records);
}

PyDoc_STRVAR(scan_doc,
"scan(block, limits, states, kept, used, others, wide, /) -> (rows, others, wide, records)\n\n"
"Read a block of complete lines. `limits` are the bytes of the longest line, the second before which times must be, and\n"
"what stands for no time; `states` the words that may stand before the tuples, of which the first has number 1. The\n"
"buffers are filled with 64-bit numbers, column after column, as many in each as the buffer has room for; how many there\n"
"are is returned, and how many lines are not blank. Lines are numbered from 0.\n\n"
"`kept` gets the first ten columns of `Written`, and `used` the other twelve; `wide` the two halves of each IPv6 address,\n"
"row after row, whose place there plus 2**32 is in `kept`. `others` gets line, begin and end of each line that is left to\n"
"the caller, begin and end being -1 where it is ICMP.");

static PyObject *scan_lines(PyObject *module, PyObject *args)
{
    Scan scan = {0};
    Py_buffer block, buffers[4];
    PyObject *states, *found = NULL;
    int i;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*(LLL)O!w*w*w*w*", &block, &scan.longest, &scan.last_second, &scan.unknown_time,
                          &PyTuple_Type, &states, &buffers[0], &buffers[1], &buffers[2], &buffers[3]))
        return NULL;
    /* So that nanoseconds fit. */
    if (scan.last_second > 9000000000)
        PyErr_SetString(PyExc_ValueError, "a second too late");
    else if (take_states(&scan, states))
        found = scan_into(&scan, &block, buffers);
    PyBuffer_Release(&block);
    for (i = 0; i < 4; i++)
        PyBuffer_Release(&buffers[i]);
    return found;
}

static PyMethodDef methods[] = {
    {"scan", scan_lines, METH_VARARGS, scan_doc},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    return PyModule_AddIntConstant(module, "VERSION", VERSION);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_conntrack_lines",
    .m_doc = "Conntrack text taken apart.",
    .m_methods = methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__conntrack_lines(void)
{
    return PyModuleDef_Init(&module_def);
}
