/* Rows in the format of a binary COPY: of tuples of values, or by a plan that says where in objects the values are. */

#include "_compiled.h"

#include <stddef.h>
#include <structmember.h>

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

static int put_head(Buffer *out, Py_ssize_t columns) {
    char *at = more(out, 2);
    if (at)
        big(at, columns, 2);
    return at ? 0 : -1;
}

static int put_row(Buffer *out, PyObject *row, const char *kinds, Py_ssize_t columns) {
    if (!PyTuple_CheckExact(row) || PyTuple_GET_SIZE(row) != columns) {
        PyErr_Format(PyExc_ValueError, "a row is a tuple of %zd columns", columns);
        return -1;
    }
    if (put_head(out, columns))
        return -1;
    for (Py_ssize_t i = 0; i < columns; i++)
        if (put_value(out, PyTuple_GET_ITEM(row, i), kinds[i]))
            return -1;
    return 0;
}

/* ---------------------------------------------------------------- by a plan */

#define MOST_STEPS 2
#define MOST_SUMMANDS 4
#define PLAN "llmobs.ingest._compiled.plan"

enum { AS_IT_IS = 0, NOTHING_IS_NULL = 1 };

/* A member of an object of this type and no other. */
typedef struct {
    PyTypeObject *type;
    Py_ssize_t place;
} Step;

/* From a value of the row's tuple to one of its members', or to itself. */
typedef struct {
    Py_ssize_t root;
    int steps;
    Step step[MOST_STEPS];
} Path;

typedef struct {
    int how, paths; /* several paths are summed up */
    Path path[MOST_SUMMANDS];
} Column;

typedef struct {
    Py_ssize_t columns, width; /* of a row as it is stored, and of the tuple that it is made of */
    char *kinds;
    PyObject *types; /* kept alive */
    Column column[];
} Plan;

/* Borrowed; None where any of it is None. NULL with an exception. */
static PyObject *value_at(const Path *path, PyObject *row) {
    PyObject *value = PyTuple_GET_ITEM(row, path->root);
    for (int i = 0; i < path->steps && value != Py_None; i++) {
        const Step *step = &path->step[i];
        if (Py_TYPE(value) != step->type)
            return PyErr_Format(PyExc_TypeError, "%s is needed", step->type->tp_name);
        value = *(PyObject **)((char *)value + step->place);
        if (!value)
            return PyErr_Format(PyExc_AttributeError, "a value of %s is missing", step->type->tp_name);
    }
    return value;
}

/* 1: they are summed up. 0: one of them is None. -1 with an exception. */
static int sum_of(const Column *column, PyObject *row, long long *sum) {
    *sum = 0;
    for (int i = 0; i < column->paths; i++) {
        PyObject *value = value_at(&column->path[i], row);
        if (!value || value == Py_None)
            return value ? 0 : -1;
        if (!PyLong_CheckExact(value)) {
            PyErr_SetString(PyExc_TypeError, "a count is an integer");
            return -1;
        }
        long long number = PyLong_AsLongLong(value);
        if (number == -1 && PyErr_Occurred())
            return -1;
        if (__builtin_add_overflow(*sum, number, sum)) {
            PyErr_SetString(PyExc_OverflowError, "a sum is too large");
            return -1;
        }
    }
    return 1;
}

static int put_sum(Buffer *out, const Column *column, PyObject *row) {
    long long sum;
    int is_known = sum_of(column, row, &sum);
    if (is_known < 0)
        return -1;
    if (!is_known || (column->how == NOTHING_IS_NULL && !sum))
        return put_value(out, Py_None, 'q');
    return put_integer(out, sum, 8);
}

static int put_column(Buffer *out, const Column *column, PyObject *row, char kind) {
    if (column->paths > 1)
        return put_sum(out, column, row);
    PyObject *value = value_at(column->path, row);
    if (!value)
        return -1;
    Py_INCREF(value); /* what a value that is none of ours does, its place may not outlive */
    int truth = column->how == NOTHING_IS_NULL ? PyObject_IsTrue(value) : 1;
    int failed = truth < 0 || put_value(out, truth ? value : Py_None, kind);
    Py_DECREF(value);
    return failed ? -1 : 0;
}

static int put_planned(Buffer *out, PyObject *row, const Plan *plan) {
    if (!PyTuple_CheckExact(row) || PyTuple_GET_SIZE(row) != plan->width)
        return put_row(out, row, plan->kinds, plan->columns);
    if (put_head(out, plan->columns))
        return -1;
    for (Py_ssize_t i = 0; i < plan->columns; i++)
        if (put_column(out, &plan->column[i], row, plan->kinds[i]))
            return -1;
    return 0;
}

/* (type, name): a member that is a reference. */
static int step_of(PyObject *said, Step *step) {
    PyObject *name;
    if (!PyTuple_CheckExact(said) || !PyArg_ParseTuple(said, "O!U", &PyType_Type, &step->type, &name)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "a step is a type and a name");
        return -1;
    }
    PyObject *found = PyObject_GetAttr((PyObject *)step->type, name);
    if (!found)
        return -1;
    PyMemberDef *member = Py_IS_TYPE(found, &PyMemberDescr_Type) ? ((PyMemberDescrObject *)found)->d_member : NULL;
    int fine = member && member->type == T_OBJECT_EX && ((PyMemberDescrObject *)found)->d_common.d_type == step->type &&
               member->offset >= (Py_ssize_t)sizeof(PyObject) &&
               member->offset + (Py_ssize_t)sizeof(PyObject *) <= step->type->tp_basicsize;
    if (fine)
        step->place = member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%U is no slot of %s", name, step->type->tp_name);
    Py_DECREF(found);
    return fine ? 0 : -1;
}

/* (root, step, ...) */
static int path_of(PyObject *said, Py_ssize_t width, Path *path) {
    if (!PyTuple_CheckExact(said) || !PyTuple_GET_SIZE(said) || PyTuple_GET_SIZE(said) > 1 + MOST_STEPS) {
        PyErr_SetString(PyExc_ValueError, "a path is a root and a few steps");
        return -1;
    }
    path->root = PyLong_AsSsize_t(PyTuple_GET_ITEM(said, 0));
    if (path->root == -1 && PyErr_Occurred())
        return -1;
    if (path->root < 0 || path->root >= width) {
        PyErr_SetString(PyExc_ValueError, "no such value of a row");
        return -1;
    }
    path->steps = (int)PyTuple_GET_SIZE(said) - 1;
    for (int i = 0; i < path->steps; i++)
        if (step_of(PyTuple_GET_ITEM(said, i + 1), &path->step[i]))
            return -1;
    return 0;
}

/* (how, path, ...) */
static int column_of(PyObject *said, Py_ssize_t width, char kind, Column *column) {
    if (!PyTuple_CheckExact(said) || PyTuple_GET_SIZE(said) < 2 || PyTuple_GET_SIZE(said) > 1 + MOST_SUMMANDS ||
        (PyTuple_GET_SIZE(said) > 2 && kind != 'q')) {
        PyErr_SetString(PyExc_ValueError, "a column is how, and a path or a few of numbers");
        return -1;
    }
    column->how = PyObject_IsTrue(PyTuple_GET_ITEM(said, 0));
    column->paths = (int)PyTuple_GET_SIZE(said) - 1;
    for (int i = 0; i < column->paths; i++)
        if (path_of(PyTuple_GET_ITEM(said, i + 1), width, &column->path[i]))
            return -1;
    return column->how < 0 ? -1 : 0;
}

static void plan_freed(Plan *plan) {
    Py_XDECREF(plan->types);
    PyMem_Free(plan->kinds);
    PyMem_Free(plan);
}

static void plan_done(PyObject *capsule) {
    Plan *plan = PyCapsule_GetPointer(capsule, PLAN);
    if (plan)
        plan_freed(plan);
}

/* row_plan(kinds, columns, width) */
PyObject *row_plan(PyObject *module, PyObject *arguments) {
    const char *kinds;
    Py_ssize_t length, width;
    PyObject *columns;
    if (!PyArg_ParseTuple(arguments, "y#O!n", &kinds, &length, &PyTuple_Type, &columns, &width))
        return NULL;
    if (PyTuple_GET_SIZE(columns) != length || width < 1 || width == length || length > INT16_MAX) {
        PyErr_SetString(PyExc_ValueError, "a plan has a kind of each column, and rows of another width");
        return NULL;
    }
    Plan *plan = PyMem_Calloc(1, sizeof(Plan) + length * sizeof(Column));
    if (!plan)
        return PyErr_NoMemory();
    plan->columns = length;
    plan->width = width;
    plan->types = Py_NewRef(columns);
    plan->kinds = PyMem_Malloc(length);
    int failed = !plan->kinds;
    if (failed)
        PyErr_NoMemory();
    else
        memcpy(plan->kinds, kinds, length);
    for (Py_ssize_t i = 0; !failed && i < length; i++)
        failed = column_of(PyTuple_GET_ITEM(columns, i), width, kinds[i], &plan->column[i]);
    PyObject *capsule = failed ? NULL : PyCapsule_New(plan, PLAN, plan_done);
    if (!capsule)
        plan_freed(plan);
    return capsule;
}

/* ---------------------------------------------------------------- many at once */

PyObject *packed_by(PyObject *module, PyObject *arguments) {
    PyObject *capsule, *rows;
    if (!PyArg_ParseTuple(arguments, "OO!", &capsule, &PyList_Type, &rows))
        return NULL;
    const Plan *plan = PyCapsule_GetPointer(capsule, PLAN);
    if (!plan)
        return NULL;
    Buffer out = {NULL, 0, 0};
    int failed = 0;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(rows); i++) {
        PyObject *row = Py_NewRef(PyList_GET_ITEM(rows, i));
        failed = put_planned(&out, row, plan);
        Py_DECREF(row);
    }
    PyObject *made = failed ? NULL : PyBytes_FromStringAndSize(out.bytes, out.filled);
    PyMem_Free(out.bytes);
    return made;
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
