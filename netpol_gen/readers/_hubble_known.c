/* Hubble records that say again what is known, told from their bytes.

   A Hubble export says the same few things over and over: of two records of one conversation only the time, the
   client's port and fields that nobody reads differ. This module knows nothing of what a record means. It takes a record
   apart as far as JSON goes, and if all bytes that matter, but for time and client's port, are those of a record that
   the Python reader (hubble_fold.py) has folded, it counts it where that one went. Everything else is handed to the
   Python reader, which may then tell what to do with its like (`mean`, `put`): a record that is new, that is not plain ASCII without escapes, that has a
   field twice, that lacks a field, and of course any that is no sound JSON.

   So the rule to keep is: never accept what the Python reader would refuse or read otherwise. Where in doubt, give up
   (NULL, 0): that costs time and nothing else. Input is hostile: a line is looked at between its two ends only, nesting
   is limited, hash tables are keyed with a seed of the process, and the caller forgets everything when it is `full`. */

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>

#include "_hubble_known_records.h"

#define VERSION 1 /* of what this module and hubble_known.py say to each other */
#define MAX_CELLS (1u << 18)
#define MAX_BYTES (48u << 20)

/* --- the type ------------------------------------------------------------------------------------------------------ */

PyDoc_STRVAR(scan_doc,
"scan(data, other, row, /) -> int\n\n"
"Count the records of a block of complete lines that say what is known, and tell how many they are. For each other line\n"
"that is not blank, in order, `other(start, stop, before, learnable)` is called: where the line begins and ends, how many\n"
"come before it, and whether `mean`, `put` and so on may be called, which speak of the line at hand. Where all but the\n"
"conversation is known, `row(source, destination, server, group, node, before)` is asked for the number of its row.");

static int hand_out(Known *self, PyObject *other, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t line)
{
    self->busy = 1;
    PyObject *answer = PyObject_CallFunction(other, "nnnO", start, stop, line, self->learnable ? Py_True : Py_False);
    self->busy = self->learnable = 0;
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

static int is_row(long row)
{
    if (row >= 0 && row < 1 << 24)
        return 1;
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "no such row");
    return 0;
}

static int ask_row(Known *self, PyObject *asked, Py_ssize_t line)
{
    const Record *met = &self->met;
    self->busy = 1;
    self->learnable = 0;
    PyObject *answer = PyObject_CallFunction(asked, "IIIIs#n", (unsigned int)met->source_end,
                                             (unsigned int)met->destination_end, (unsigned int)met->key.server,
                                             (unsigned int)met->key.group, met->node.at + 1,
                                             (Py_ssize_t)met->node.size - 2, line);
    self->busy = 0;
    if (!answer)
        return -1;
    long row = PyLong_AsLong(answer);
    Py_DECREF(answer);
    if (!is_row(row))
        return -1;
    Cell *cell = add_cell(self, &met->key);
    if (!cell) {
        PyErr_NoMemory();
        return -1;
    }
    cell->row = (uint32_t)row;
    count(self, cell, met);
    return 0;
}

static int room_for_one(Known *self)
{
    size_t room = self->log_room ? 2 * self->log_room : 1024;
    uint64_t *fresh;
    if (self->logged < self->log_room)
        return 1;
    if (!(fresh = PyMem_Realloc(self->log, room * sizeof(uint64_t))))
        return 0;
    self->log = fresh;
    self->log_room = room;
    return 1;
}

static PyObject *known_scan(Known *self, PyObject *args)
{
    Py_buffer view;
    PyObject *other, *row;
    if (!PyArg_ParseTuple(args, "y*OO", &view, &other, &row))
        return NULL;
    const char *begin = view.buf, *end = begin + view.len, *p = begin, *stop = begin;
    Py_ssize_t counted = 0, line = 0;
    int failed = !self->names || self->busy;
    if (failed)
        PyErr_SetString(PyExc_RuntimeError, "not made yet, or within a scan");
    for (; !failed && p < end; line++, p = stop < end ? stop + 1 : end) {
        const char *from = blank(p, end);
        /* Nothing that is gone through has a newline in it. */
        stop = from;
        if (from == end || *from == '\n')
            continue;
        Outcome outcome = room_for_one(self) ? take_record(self, from, end, &stop) : NO_MEMORY;
        if (outcome == COUNTED) {
            counted++;
        } else if (outcome == NO_MEMORY) {
            PyErr_NoMemory();
            failed = -1;
        } else {
            stop = memchr(from, '\n', (size_t)(end - from));
            stop = stop ? stop : end;
            if (outcome == NEEDS_ROW) {
                failed = ask_row(self, row, line);
                counted++;
            } else {
                failed = hand_out(self, other, p - begin, stop - begin, line);
            }
        }
    }
    PyBuffer_Release(&view);
    return failed ? NULL : PyLong_FromSsize_t(counted);
}

/* Whether there is a record to speak of. */
static int at_hand(const Known *self)
{
    if (!self->learnable)
        PyErr_SetString(PyExc_RuntimeError, "no record at hand that can be learnt");
    return self->learnable;
}

static int reason_of(PyObject *number, uint32_t *reason)
{
    long value = PyLong_AsLong(number);
    if (value == -1 && PyErr_Occurred())
        return 0;
    *reason = (uint32_t)value;
    if (value >= 0 && value < MAX_REASONS)
        return 1;
    PyErr_SetString(PyExc_ValueError, "no such reason");
    return 0;
}

PyDoc_STRVAR(mean_doc,
"mean(turned, decided, adds, bits, group, /)\n\n"
"What records of this shape mean: whether their source is the server, whether the client is known, what each adds to\n"
"`Row.count` and `Row.bits`, and the group.");

static PyObject *known_mean(Known *self, PyObject *args)
{
    int turned, decided;
    unsigned long long adds;
    unsigned int bits, group;
    if (!PyArg_ParseTuple(args, "ppKII", &turned, &decided, &adds, &bits, &group) || !at_hand(self))
        return NULL;
    if (self->deeds[self->met.shape].state == UNKNOWN)
        self->deeds[self->met.shape] = (Deed){adds, bits, group, 0, MEANT, (uint8_t)turned, (uint8_t)decided};
    Py_RETURN_NONE;
}

static PyObject *put_in(Known *self, uint32_t row, uint32_t reason)
{
    Record *met = &self->met;
    const Deed *deed = &self->deeds[met->shape];
    if (deed->state == MEANT && met->key.pair != NONE && settle_key(deed, met) && find_cell(self, &met->key) == NONE) {
        Cell *cell = add_cell(self, &met->key);
        if (!cell)
            return PyErr_NoMemory();
        cell->row = row;
        cell->reason = reason;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(put_doc,
"put(row, /)\n\n"
"Count records of these ends, server's port, node and meaning in this row. The meaning is told first (`mean`).");

static PyObject *known_put(Known *self, PyObject *number)
{
    long row = PyLong_AsLong(number);
    return is_row(row) && at_hand(self) ? put_in(self, (uint32_t)row, 0) : NULL;
}

PyDoc_STRVAR(ends_doc,
"ends(source, destination, /)\n\n"
"The numbers of the ends of this record, of its source and of its destination, which `row` is asked with.");

static PyObject *known_ends(Known *self, PyObject *args)
{
    unsigned int numbers[2];
    Span addresses[2];
    int i;
    if (!PyArg_ParseTuple(args, "II", &numbers[0], &numbers[1]) || !at_hand(self))
        return NULL;
    if (self->met.key.pair != NONE && take_addresses(&self->pairs, self->met.key.pair, &addresses[0], &addresses[1]))
        for (i = 0; i < 2; i++) {
            uint32_t endpoint = i ? self->met.key.destination : self->met.key.source;
            uint32_t end = number_of_end(self, endpoint, &addresses[i]);
            if (end != NONE)
                self->ends.words[end].with[END] = numbers[i];
        }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(put_aside_doc, "put_aside(reason, /)\n\nAs `put`, but set such records aside for a reason (a number).");

static PyObject *known_put_aside(Known *self, PyObject *number)
{
    uint32_t reason;
    return reason_of(number, &reason) && at_hand(self) ? put_in(self, NONE, reason) : NULL;
}

PyDoc_STRVAR(set_aside_doc,
"set_aside(reason, /)\n\n"
"Set records of this shape aside for a reason (a number), whatever their ends and ports.");

static PyObject *known_set_aside(Known *self, PyObject *number)
{
    uint32_t reason;
    if (!reason_of(number, &reason) || !at_hand(self))
        return NULL;
    if (self->deeds[self->met.shape].state == UNKNOWN) {
        self->deeds[self->met.shape].state = ASIDE;
        self->deeds[self->met.shape].reason = reason;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(count_outside_doc,
"count_outside(reason, /)\n\n"
"From now on, count records outside the window under this reason instead of handing them out.");

static PyObject *known_count_outside(Known *self, PyObject *number)
{
    uint32_t reason;
    if (!reason_of(number, &reason))
        return NULL;
    self->outside_reason = (int)reason;
    self->outside_counts = 1;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(connections_doc,
"connections() -> bytes\n\n"
"Connections seen since the last call, as native 64-bit `row << 36 | hour << 16 | client port`.");

static PyObject *known_connections(Known *self, PyObject *ignored)
{
    (void)ignored;
    PyObject *found = PyBytes_FromStringAndSize((const char *)self->log, (Py_ssize_t)(self->logged * sizeof(uint64_t)));
    if (found)
        self->logged = 0;
    return found;
}

PyDoc_STRVAR(drain_doc,
"drain() -> (rows, reasons)\n\n"
"What was counted since the last call: tuples of row, records (as `Row.count`), bits, first and last time, and a list\n"
"of how many records were set aside for each reason.");

static PyObject *known_drain(Known *self, PyObject *ignored)
{
    uint32_t number;
    (void)ignored;
    PyObject *rows = PyList_New(0), *reasons = PyList_New(0), *answer = NULL, *item;
    if (!rows || !reasons)
        goto finish;
    for (number = 0; number < self->cells_count; number++) {
        Cell *cell = &self->cells[number];
        if (!cell->first_size)
            continue;
        item = Py_BuildValue("IKIs#s#", (unsigned int)cell->row, (unsigned long long)cell->adds, (unsigned int)cell->bits,
                             cell->first, (Py_ssize_t)cell->first_size, cell->last, (Py_ssize_t)cell->last_size);
        if (!item || PyList_Append(rows, item)) {
            Py_XDECREF(item);
            goto finish;
        }
        Py_DECREF(item);
    }
    for (number = 0; number < MAX_REASONS; number++) {
        item = PyLong_FromUnsignedLongLong(self->reasons[number]);
        if (!item || PyList_Append(reasons, item)) {
            Py_XDECREF(item);
            goto finish;
        }
        Py_DECREF(item);
    }
    answer = PyTuple_Pack(2, rows, reasons);
    if (answer) {
        for (number = 0; number < self->cells_count; number++) {
            Cell *cell = &self->cells[number];
            cell->adds = 0;
            cell->bits = 0;
            cell->first_size = cell->last_size = 0;
        }
        memset(self->reasons, 0, sizeof self->reasons);
    }
finish:
    Py_XDECREF(rows);
    Py_XDECREF(reasons);
    return answer;
}

static void forget(Known *self)
{
    forget_words(&self->pairs);
    forget_words(&self->words);
    forget_words(&self->ends);
    forget_words(&self->shapes);
    PyMem_Free(self->deeds);
    PyMem_Free(self->cells);
    PyMem_Free(self->cell_slots);
    self->deeds = NULL;
    self->cells = NULL;
    self->cell_slots = NULL;
    self->deeds_room = self->cells_count = self->cells_room = self->cell_mask = 0;
    self->learnable = self->heavy = 0;
}

PyDoc_STRVAR(forget_doc, "forget()\n\nForget all that was learnt. What was counted since the last `drain` is lost.");

static PyObject *known_forget(Known *self, PyObject *ignored)
{
    (void)ignored;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "within a scan");
        return NULL;
    }
    forget(self);
    Py_RETURN_NONE;
}

static PyObject *known_full(Known *self, void *ignored)
{
    (void)ignored;
    return PyBool_FromLong(self->heavy || self->cells_count > MAX_CELLS
                           || self->pairs.used + self->words.used + self->shapes.used + self->ends.used > MAX_BYTES
                           || self->pairs.count > MAX_CELLS || self->words.count > MAX_CELLS
                           || self->shapes.count > MAX_CELLS || self->ends.count > MAX_CELLS);
}

static PyObject *known_logged(Known *self, void *ignored)
{
    (void)ignored;
    return PyLong_FromSize_t(self->logged);
}

static int known_init(Known *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"fields", "seed", "window", NULL};
    PyObject *fields, *window;
    Py_buffer seed;
    const char *since, *until;
    Py_ssize_t since_size, until_size, i, many;
    int role;
    if (self->names) {
        PyErr_SetString(PyExc_TypeError, "made already");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!y*O", keywords, &PyTuple_Type, &fields, &seed, &window))
        return -1;
    if (seed.len != sizeof self->seed) {
        PyBuffer_Release(&seed);
        PyErr_SetString(PyExc_ValueError, "a seed has 16 bytes");
        return -1;
    }
    memcpy(self->seed, seed.buf, sizeof self->seed);
    PyBuffer_Release(&seed);
    if (window != Py_None) {
        if (!PyArg_ParseTuple(window, "s#s#", &since, &since_size, &until, &until_size))
            return -1;
        if ((size_t)since_size > sizeof self->since || (size_t)until_size > sizeof self->until) {
            PyErr_SetString(PyExc_ValueError, "a time has at most 32 bytes");
            return -1;
        }
        memcpy(self->since, since, (size_t)since_size);
        memcpy(self->until, until, (size_t)until_size);
        self->since_size = (size_t)since_size;
        self->until_size = (size_t)until_size;
        self->windowed = 1;
    }
    many = PyTuple_Size(fields);
    if (many > MAX_FIELDS) {
        PyErr_SetString(PyExc_ValueError, "too many fields");
        return -1;
    }
    for (role = 0; role < ROLES; role++)
        self->slot_of_role[role] = -1;
    for (i = 0; i < many; i++) {
        const char *name;
        Py_ssize_t size;
        if (!PyArg_ParseTuple(PyTuple_GetItem(fields, i), "y#i", &name, &size, &role))
            return -1;
        if (role < 0 || role >= ROLES || (size_t)size >= sizeof self->first_by_length) {
            PyErr_SetString(PyExc_ValueError, "no such role, or a name too long");
            return -1;
        }
        self->fields[i] = (Field){name, (size_t)size, role};
        self->slot_of_role[role] = (int)i;
        if (!self->first_by_length[size])
            self->first_by_length[size] = (uint8_t)(i + 1);
    }
    for (role = TIME; role <= NODE; role++)
        if (self->slot_of_role[role] < 0) {
            PyErr_SetString(PyExc_ValueError, "a role without a field");
            return -1;
        }
    self->count = (int)many;
    self->names = Py_NewRef(fields);
    return 0;
}

static void known_dealloc(Known *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    forget(self);
    PyMem_Free(self->log);
    Py_XDECREF(self->names);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef known_methods[] = {
    {"scan", (PyCFunction)known_scan, METH_VARARGS, scan_doc},
    {"mean", (PyCFunction)known_mean, METH_VARARGS, mean_doc},
    {"ends", (PyCFunction)known_ends, METH_VARARGS, ends_doc},
    {"put", (PyCFunction)known_put, METH_O, put_doc},
    {"put_aside", (PyCFunction)known_put_aside, METH_O, put_aside_doc},
    {"set_aside", (PyCFunction)known_set_aside, METH_O, set_aside_doc},
    {"count_outside", (PyCFunction)known_count_outside, METH_O, count_outside_doc},
    {"connections", (PyCFunction)known_connections, METH_NOARGS, connections_doc},
    {"drain", (PyCFunction)known_drain, METH_NOARGS, drain_doc},
    {"forget", (PyCFunction)known_forget, METH_NOARGS, forget_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef known_getters[] = {
    {"full", (getter)known_full, NULL, "Whether so much is known that it is time to forget it.", NULL},
    {"logged", (getter)known_logged, NULL, "How many connections wait for `connections`.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot known_slots[] = {
    {Py_tp_doc, "Known(fields, seed, window): counts records that say again what is known. hubble_known.py has the use."},
    {Py_tp_init, known_init},
    {Py_tp_dealloc, known_dealloc},
    {Py_tp_methods, known_methods},
    {Py_tp_getset, known_getters},
    {0, NULL},
};

static PyType_Spec known_spec = {
    .name = "netpol_gen.readers._hubble_known.Known",
    .basicsize = sizeof(Known),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = known_slots,
};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &known_spec, NULL);
    if (!type)
        return -1;
    int failed = PyModule_AddObjectRef(module, "Known", type) || PyModule_AddIntConstant(module, "VERSION", VERSION);
    Py_DECREF(type);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_hubble_known",
    .m_doc = "Hubble records that say again what is known.",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__hubble_known(void)
{
    return PyModuleDef_Init(&module_def);
}
