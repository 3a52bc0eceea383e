/* Rows in the format of a binary COPY. */

#include "_compiled.h"

typedef struct {
    char *bytes;
    Py_ssize_t filled, room;
} Buffer;

static char *more(Buffer *out, Py_ssize_t count) {
    if (out->room - out->filled < count) {
        Py_ssize_t room = (out->room + count) * 2;
        char *bytes = PyMem_Realloc(out->bytes, room);
        if (!bytes) {
            PyErr_NoMemory();
            return NULL;
        }
        out->bytes = bytes;
        out->room = room;
    }
    char *at = out->bytes + out->filled;
    out->filled += count;
    return at;
}

static inline void big(char *at, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (char)(value & 0xff);
}

static int put_integer(Buffer *out, long long value, int bytes) {
    char *at = more(out, 4 + bytes);
    if (!at)
        return -1;
    memcpy(at, bytes == 8 ? "\0\0\0\10" : bytes == 2 ? "\0\0\0\2" : "\0\0\0\1", 4);
    if (bytes == 8)
        big(at + 4, (uint64_t)value, 8); /* told apart, so that each is one instruction */
    else
        big(at + 4, (uint64_t)value, bytes);
    return 0;
}

static int put_bytes(Buffer *out, const char *bytes, Py_ssize_t length, int version) {
    if (length > INT32_MAX - 1) {
        PyErr_SetString(PyExc_OverflowError, "a value is longer than a row can hold");
        return -1;
    }
    char *at = more(out, 4 + version + length);
    if (!at)
        return -1;
    big(at, length + version, 4);
    if (version)
        at[4] = 1; /* of the format of jsonb */
    memcpy(at + 4 + version, bytes, length);
    return 0;
}

static int put_text(Buffer *out, PyObject *value) {
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(value, &length);
    return bytes ? put_bytes(out, bytes, length, 0) : -1;
}

static int put_number(Buffer *out, PyObject *value, char kind) {
    long long number = PyLong_AsLongLong(value);
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (kind == 'T') {
        /* Microseconds since 2000, of nanoseconds since 1970; floored. */
        long long microseconds = number / 1000 - (number % 1000 < 0);
        return put_integer(out, microseconds - 946684800000000LL, 8);
    }
    if (kind == 'h' && (number < INT16_MIN || number > INT16_MAX)) {
        PyErr_SetString(PyExc_OverflowError, "smallint out of range");
        return -1;
    }
    return put_integer(out, number, kind == 'q' ? 8 : 2);
}

/* A flat list of texts in the form of an array. */
static int put_texts(Buffer *out, PyObject *value) {
    PyObject *items = PySequence_Fast(value, "a list is needed");
    if (!items)
        return -1;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(items), start = out->filled;
    char *head = more(out, count ? 24 : 16);
    int failed = !head;
    if (head) {
        big(head + 4, count ? 1 : 0, 4);
        big(head + 8, 0, 4);
        big(head + 12, 25, 4); /* type of the items: text */
        if (count) {
            big(head + 16, count, 4);
            big(head + 20, 1, 4);
        }
    }
    for (Py_ssize_t i = 0; !failed && i < count; i++)
        failed = put_text(out, PySequence_Fast_GET_ITEM(items, i));
    Py_DECREF(items);
    if (failed)
        return -1;
    big(out->bytes + start, out->filled - start - 4, 4);
    return 0;
}

static int put_value(Buffer *out, PyObject *value, char kind) {
    if (value == Py_None) {
        char *at = more(out, 4);
        if (!at)
            return -1;
        memset(at, 0xff, 4);
        return 0;
    }
    switch (kind) {
    case 'q':
    case 'h':
    case 'T':
        return put_number(out, value, kind);
    case '?': {
        int truth = PyObject_IsTrue(value);
        return truth < 0 ? -1 : put_integer(out, truth, 1);
    }
    case 't':
        return put_text(out, value);
    case 'b':
    case 'J': {
        char *bytes;
        Py_ssize_t length;
        return PyBytes_AsStringAndSize(value, &bytes, &length) ? -1 : put_bytes(out, bytes, length, kind == 'J');
    }
    case 'A':
        return put_texts(out, value);
    default:
        PyErr_Format(PyExc_ValueError, "no kind of column: %c", kind);
        return -1;
    }
}

static int put_row(Buffer *out, PyObject *row, const char *kinds, Py_ssize_t columns) {
    if (!PyTuple_CheckExact(row) || PyTuple_GET_SIZE(row) != columns) {
        PyErr_Format(PyExc_ValueError, "a row is a tuple of %zd columns", columns);
        return -1;
    }
    char *at = more(out, 2);
    if (!at)
        return -1;
    big(at, columns, 2);
    for (Py_ssize_t i = 0; i < columns; i++)
        if (put_value(out, PyTuple_GET_ITEM(row, i), kinds[i]))
            return -1;
    return 0;
}

PyObject *packed(PyObject *module, PyObject *arguments) {
    const char *kinds;
    Py_ssize_t columns;
    PyObject *rows;
    if (!PyArg_ParseTuple(arguments, "y#O!", &kinds, &columns, &PyList_Type, &rows))
        return NULL;
    Buffer out = {NULL, 0, 0};
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(rows); i++)
        failed = put_row(&out, PyList_GET_ITEM(rows, i), kinds, columns);
    PyObject *made = failed ? NULL : PyBytes_FromStringAndSize(out.bytes, out.filled);
    PyMem_Free(out.bytes);
    return made;
}
