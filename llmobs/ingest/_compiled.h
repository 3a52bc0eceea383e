/* What the parts of the compiled module share, and what each gives to it (`_compiled.c`). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define FORM 7 /* of what the module gives, as in compiled.py: a build of another form is not used */

/* What ends a reading: ODD leaves it to Python, FAILED has set a Python exception. */
enum { FINE = 0, ODD = 1, FAILED = 2 };

#define TRY(step)                                                                                                      \
    do {                                                                                                               \
        int became_ = (step);                                                                                          \
        if (became_ != FINE)                                                                                           \
            return became_;                                                                                            \
    } while (0)

/* What was found; None where it is ODD. Takes the reference. */
static inline PyObject *judged(PyObject *found, int became) {
    if (became == FINE)
        return found;
    Py_XDECREF(found);
    return became == FAILED ? NULL : Py_NewRef(Py_None);
}

/* _compiled_rows.c */
PyObject *packed(PyObject *module, PyObject *arguments);
PyObject *row_plan(PyObject *module, PyObject *arguments);
PyObject *packed_by(PyObject *module, PyObject *arguments);

/* _compiled_looks.c */
void looks_ready(void); /* first */
PyObject *plain_texts(PyObject *module, PyObject *text);
PyObject *looks_clean(PyObject *module, PyObject *text);
PyObject *values_look_clean(PyObject *module, PyObject *attributes);
PyObject *anchors_in(PyObject *module, PyObject *arguments);
PyObject *look(PyObject *module, PyObject *arguments);
int are_plain_messages(const char *at, Py_ssize_t length); /* in UTF-8: JSON as `otlp.messages` keeps it */

/* _compiled_values.c */
PyObject *values_are_small(PyObject *module, PyObject *arguments);
int no_media_in(PyObject *attributes, Py_ssize_t shortest);
PyObject *values_hold_no_media(PyObject *module, PyObject *arguments);
PyObject *are_short(PyObject *module, PyObject *arguments);
PyObject *last_words(PyObject *module, PyObject *arguments);
