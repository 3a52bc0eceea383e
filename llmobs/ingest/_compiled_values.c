/* Looks at a span's values, so that those that are plain need not be looked at one by one in Python.

   values_are_small(attributes, most), values_hold_no_media(attributes, shortest): whether attributes stay as they are.
   are_short(texts, most): whether nothing in them is to be cut or cleaned.
   last_words(messages, most): the preview of plain messages. */

#include "_compiled.h"

#include <math.h>

/* 1, 0, or -1 with an exception: as `otlp.remains` keeps them. */
static int is_small(PyObject *value, Py_ssize_t most_characters) {
    if (PyUnicode_CheckExact(value))
        return PyUnicode_GET_LENGTH(value) <= most_characters &&
               PyUnicode_FindChar(value, 0, 0, PyUnicode_GET_LENGTH(value), 1) == -1;
    if (PyFloat_CheckExact(value))
        return isfinite(PyFloat_AS_DOUBLE(value));
    if (PyBool_Check(value))
        return 1;
    if (!PyLong_CheckExact(value))
        return 0;
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return number == -1 && !overflow && PyErr_Occurred() ? -1 : !overflow;
}

PyObject *values_are_small(PyObject *module, PyObject *arguments) {
    PyObject *attributes, *name, *value;
    Py_ssize_t most_characters, place = 0;
    if (!PyArg_ParseTuple(arguments, "O!n", &PyDict_Type, &attributes, &most_characters))
        return NULL;
    while (PyDict_Next(attributes, &place, &name, &value)) {
        int small = is_small(value, most_characters);
        if (small < 0)
            return NULL;
        if (!small)
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

/* Whether `ingest.media` finds nothing in them: no list or object, and no data URL. */
int no_media_in(PyObject *attributes, Py_ssize_t shortest) {
    static const char sign[] = ";base64,";
    PyObject *name, *value;
    Py_ssize_t place = 0;
    while (PyDict_Next(attributes, &place, &name, &value)) {
        if (PyDict_CheckExact(value) || PyList_CheckExact(value))
            return 0;
        if (!PyUnicode_CheckExact(value) || PyUnicode_GET_LENGTH(value) < shortest)
            continue;
        if (!PyUnicode_IS_COMPACT_ASCII(value))
            return 0; /* looked at by others */
        const char *at = (const char *)PyUnicode_1BYTE_DATA(value);
        if (strstr(at, sign) || strlen(at) != (size_t)PyUnicode_GET_LENGTH(value))
            return 0;
    }
    return 1;
}

PyObject *values_hold_no_media(PyObject *module, PyObject *arguments) {
    PyObject *attributes;
    Py_ssize_t shortest;
    if (!PyArg_ParseTuple(arguments, "O!n", &PyDict_Type, &attributes, &shortest))
        return NULL;
    return PyBool_FromLong(no_media_in(attributes, shortest));
}

/* Whether these texts are in ASCII, without NUL, and no longer than that. */
PyObject *are_short(PyObject *module, PyObject *arguments) {
    PyObject *texts;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(arguments, "O!n", &PyTuple_Type, &texts, &most))
        return NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        if (!PyUnicode_CheckExact(text) || !PyUnicode_IS_COMPACT_ASCII(text) || PyUnicode_GET_LENGTH(text) > most ||
            memchr(PyUnicode_1BYTE_DATA(text), 0, PyUnicode_GET_LENGTH(text)))
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

/* Whether these letters end here, and how many of the text they are. */
static Py_ssize_t ends_with(const char *start, const char *end, const char *letters) {
    Py_ssize_t length = strlen(letters);
    return end - start >= length && !memcmp(end - length, letters, length) ? length : 0;
}

/* Behind the last such letter; where there is none, the start. */
static const char *after_last(const char *start, const char *end, char letter) {
#ifdef __linux__
    const char *found = memrchr(start, letter, end - start);
    return found ? found + 1 : start;
#else
    while (end > start && end[-1] != letter)
        end--;
    return end;
#endif
}

/* The first words of the last message, as `content.preview` shows them, where it is one text without escapes, and
   plain; None: look closer. */
PyObject *last_words(PyObject *module, PyObject *arguments) {
    PyObject *text;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(arguments, "Un", &text, &most))
        return NULL;
    if (!PyUnicode_IS_COMPACT_ASCII(text))
        Py_RETURN_NONE;
    const char *start = (const char *)PyUnicode_1BYTE_DATA(text), *end = start + PyUnicode_GET_LENGTH(text);
    Py_ssize_t closing = ends_with(start, end, "\"}]}]");
    end -= closing;
    const char *first = closing ? after_last(start, end, '"') : start;
    if (memchr(first, '\\', end - first) ||
        !(ends_with(start, first, "\"parts\": [{\"type\": \"text\", \"content\": \"") ||
          ends_with(start, first, "\"parts\":[{\"type\":\"text\",\"content\":\"")))
        Py_RETURN_NONE;
    if (end - first > 2 * most)
        end = first + 2 * most;
    for (const char *at = first; at < end; at++)
        if (*at < ' ' || *at > '~' || (*at == ' ' && at + 1 < end && at[1] == ' '))
            Py_RETURN_NONE;
    while (first < end && *first == ' ')
        first++;
    while (end > first && end[-1] == ' ')
        end--;
    if (first == end)
        Py_RETURN_NONE;
    return PyUnicode_FromStringAndSize(first, end - first < most ? end - first : most);
}
