/* What a span of a body is while it is read, and how one is made that is like others before it (_compiled_usual.c). */

#include "_compiled_wire.h"

#define MOST_PAIRS 256 /* attributes, as `otlp.remains` keeps them */

typedef struct {
    Part trace_id, span_id, parent_span_id, name, message;
    uint64_t start, end;
    int has_status, is_error;
    PyObject *attributes, *events; /* NULL: they are checked, not read */
    Part *pairs;                   /* attributes that are not read yet; NULL: they are read at once */
    Py_ssize_t count;              /* of pairs */
} Seen;

#define LONGEST_KEY 16384

typedef struct {
    Py_ssize_t filled;
    uint8_t bytes[LONGEST_KEY];
} Bytes;

/* Where in a Span its values are. */
typedef struct {
    Py_ssize_t tenant_id, trace_id, span_id, parent_span_id, start_ns, duration_ns, attribution, response_id, usage,
        attributes, input, output;
} Places;

typedef struct {
    PyTypeObject *span;
    PyObject *usage, *official, *shapes, *tenant_id;
    unsigned long long oldest, newest;
    Places places;
    PyObject *plan;   /* of the span before, NULL: it had none */
    Bytes keys[2];    /* of its shape, and of the one that is read now, in turns */
    int turn;
    Part whom[3];     /* user, session and feature of the span before */
    PyObject *said;   /* the same as a tuple; NULL: none */
} Usual;

/* FINE: *made is the span. ODD: it must be read the long way; *learn: what it may teach, or NULL. */
int usual_span(const Seen *seen, PyObject *scope_name, PyObject *scope_version, Usual *usual, PyObject **made,
               PyObject **learn);
int usual_ready(Usual *usual);
void usual_done(Usual *usual);
