/* The writer's and the collector's hot loops in C: an option. Without it the same is done in Python (compiled.py).

   identities(body), received(body): an OTLP traces request in protobuf. They read what is plain. Whatever is odd (cut
   short, a wire type that the schema does not have, a text that is no UTF-8, a message that comes in pieces, deep
   nesting) is answered with None, and protobuf's own library judges it: both never disagree about a body.
   spans_alike(body, …): the same, with spans that are like others before them ready made (_compiled_usual.c).
   The rest of the module: rows of a binary COPY (_compiled_rows.c), looks at texts (_compiled_looks.c) and at a span's
   values (_compiled_values.c).

   Every read is checked against the end of its message; nothing is believed of a length but that it fits. */

#include "_compiled_usual.h"

#define DEEPEST 32 /* nested values; protobuf itself ends at 100 */

/* ---------------------------------------------------------------- the wire */

static int skipped(Part *part, int type) {
    uint64_t value;
    Part inner;
    switch (type) {
    case VARINT:
        return varint(part, &value);
    case FIXED64:
        return fixed64(part, &value);
    case LENGTH:
        return piece(part, &inner);
    case FIXED32:
        if (part->end - part->at < 4)
            return ODD;
        part->at += 4;
        return FINE;
    default:
        return ODD; /* groups */
    }
}

static int is_utf8(const Part *text) {
    const uint8_t *at = text->at, *end = text->end;
    while (at < end) {
        while (end - at >= 8) {
            uint64_t eight;
            memcpy(&eight, at, 8);
            if (eight & 0x8080808080808080ULL)
                break;
            at += 8;
        }
        if (at == end)
            break;
        uint8_t first = *at++;
        if (first < 0x80)
            continue;
        int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || end - at < more)
            return 0;
        uint8_t second = *at;
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
            (first == 0xf4 && second > 0x8f))
            return 0;
        for (; more; more--)
            if ((*at++ & 0xc0) != 0x80)
                return 0;
    }
    return 1;
}

/* ---------------------------------------------------------------- what is checked and not read */

typedef struct Field Field;
struct Field {
    uint32_t number;
    char kind; /* v varint, 8 fixed64, 4 fixed32, s text, b bytes, m message */
    const Field *fields;
};

static const Field ANY[], PAIR[];
static const Field ARRAY[] = {{1, 'm', ANY}, {0}};
static const Field LIST[] = {{1, 'm', PAIR}, {0}};
static const Field ANY[] = {{1, 's', NULL}, {2, 'v', NULL}, {3, 'v', NULL}, {4, '8', NULL},
                            {5, 'm', ARRAY}, {6, 'm', LIST}, {7, 'b', NULL}, {0}};
static const Field PAIR[] = {{1, 's', NULL}, {2, 'm', ANY}, {0}};
static const Field ENTITY[] = {{1, 's', NULL}, {2, 's', NULL}, {3, 's', NULL}, {4, 's', NULL}, {0}};
static const Field RESOURCE[] = {{1, 'm', PAIR}, {2, 'v', NULL}, {3, 'm', ENTITY}, {0}};
static const Field SCOPE[] = {{1, 's', NULL}, {2, 's', NULL}, {3, 'm', PAIR}, {4, 'v', NULL}, {0}};
static const Field EVENT[] = {{1, '8', NULL}, {2, 's', NULL}, {3, 'm', PAIR}, {4, 'v', NULL}, {0}};
static const Field LINK[] = {{1, 'b', NULL}, {2, 'b', NULL}, {3, 's', NULL}, {4, 'm', PAIR},
                             {5, 'v', NULL}, {6, '4', NULL}, {0}};

static int wire_type(char kind) { return kind == 'v' ? VARINT : kind == '8' ? FIXED64 : kind == '4' ? FIXED32 : LENGTH; }

static int checked(Part message, const Field *fields, int depth);

/* One field of a message: what is not in the schema (or has another wire type there) is not ours to judge. */
static int checked_field(Part *message, const Field *fields, uint32_t number, int type, int depth) {
    const Field *field = fields;
    while (field->number && field->number != number)
        field++;
    if (!field->number || wire_type(field->kind) != type)
        return ODD;
    if (type != LENGTH)
        return skipped(message, type);
    Part inner;
    TRY(piece(message, &inner));
    if (field->kind == 's')
        return is_utf8(&inner) ? FINE : ODD;
    return field->kind == 'm' ? checked(inner, field->fields, depth + 1) : FINE;
}

static int checked(Part message, const Field *fields, int depth) {
    if (depth > DEEPEST)
        return ODD;
    while (message.at < message.end) {
        uint32_t number;
        int type;
        TRY(tag(&message, &number, &type));
        TRY(checked_field(&message, fields, number, type, depth));
    }
    return FINE;
}

/* ---------------------------------------------------------------- values */

/* Names of attributes come again and again: the texts made of them are kept, each in the place of its hash. */
#define NAMES 1024
#define LONGEST_NAME 64
static PyObject *names[NAMES];

static PyObject *text(const Part *part) {
    return PyUnicode_DecodeUTF8((const char *)part->at, part->end - part->at, NULL);
}

static int odd_text(void) {
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return FAILED;
    PyErr_Clear();
    return ODD;
}

/* By eight bytes each of its beginning, middle and end. Names that meet push each other out. */
static uint32_t place_of(const uint8_t *at, Py_ssize_t length) {
    uint64_t some[3] = {0, 0, 0};
    if (length >= 8) {
        memcpy(&some[0], at, 8);
        memcpy(&some[1], at + (length - 8) / 2, 8);
        memcpy(&some[2], at + length - 8, 8);
    } else if (length) /* what is not there has no address */
        memcpy(some, at, length);
    uint64_t mixed = (some[0] ^ length) * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ some[1] ^ mixed >> 29) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ some[2] ^ mixed >> 32) * 0x94d049bb133111ebu;
    return mixed >> 32 & (NAMES - 1);
}

static int name_of(const Part *part, PyObject **found) {
    Py_ssize_t length = part->end - part->at;
    uint32_t place = 0;
    if (length <= LONGEST_NAME) {
        place = place_of(part->at, length);
        PyObject *known = names[place];
        if (known && PyUnicode_GET_LENGTH(known) == length &&
            (!length || !memcmp(PyUnicode_1BYTE_DATA(known), part->at, length))) {
            *found = Py_NewRef(known);
            return FINE;
        }
    }
    *found = text(part);
    if (!*found)
        return odd_text();
    if (length <= LONGEST_NAME && PyUnicode_IS_ASCII(*found))
        Py_XSETREF(names[place], Py_NewRef(*found));
    return FINE;
}

static int pair_into(PyObject *dict, Part pair, int depth);

static int value_of(Part any, int depth, PyObject **found);

static int list_of(Part array, int depth, PyObject *list) {
    while (array.at < array.end) {
        uint32_t number;
        int type;
        Part inner;
        TRY(tag(&array, &number, &type));
        if (number != 1 || type != LENGTH)
            return ODD;
        TRY(piece(&array, &inner));
        PyObject *item;
        TRY(value_of(inner, depth + 1, &item));
        int failed = PyList_Append(list, item);
        Py_DECREF(item);
        if (failed)
            return FAILED;
    }
    return FINE;
}

static int pairs_into(PyObject *dict, Part list, int depth) {
    while (list.at < list.end) {
        uint32_t number;
        int type;
        Part inner;
        TRY(tag(&list, &number, &type));
        if (number != 1 || type != LENGTH)
            return ODD;
        TRY(piece(&list, &inner));
        TRY(pair_into(dict, inner, depth + 1));
    }
    return FINE;
}

static int length_value(uint32_t number, Part inner, int depth, PyObject **found) {
    int became;
    switch (number) {
    case 1:
        *found = text(&inner);
        return *found ? FINE : odd_text();
    case 5:
        if (!(*found = PyList_New(0)))
            return FAILED;
        became = list_of(inner, depth + 1, *found);
        break;
    case 6:
        if (!(*found = PyDict_New()))
            return FAILED;
        became = pairs_into(*found, inner, depth + 1);
        break;
    default:
        *found = PyUnicode_FromFormat("(%zd bytes)", (Py_ssize_t)(inner.end - inner.at));
        return *found ? FINE : FAILED;
    }
    if (became != FINE)
        Py_CLEAR(*found);
    return became;
}

/* An AnyValue with one field at most: what protobuf would merge is left to it. */
static int value_of(Part any, int depth, PyObject **found) {
    *found = NULL;
    if (depth > DEEPEST)
        return ODD;
    if (any.at == any.end) {
        *found = Py_NewRef(Py_None);
        return FINE;
    }
    uint32_t number;
    int type;
    uint64_t value;
    Part inner;
    TRY(tag(&any, &number, &type));
    if ((number == 1 || number == 5 || number == 6 || number == 7) && type == LENGTH) {
        TRY(piece(&any, &inner));
        if (any.at != any.end)
            return ODD;
        return length_value(number, inner, depth, found);
    }
    if ((number == 2 || number == 3) && type == VARINT) {
        TRY(varint(&any, &value));
        if (any.at != any.end)
            return ODD;
        *found = number == 2 ? PyBool_FromLong(value != 0) : PyLong_FromLongLong((long long)value);
    } else if (number == 4 && type == FIXED64) {
        TRY(fixed64(&any, &value));
        if (any.at != any.end)
            return ODD;
        double plain;
        memcpy(&plain, &value, 8);
        *found = PyFloat_FromDouble(plain);
    } else
        return ODD;
    return *found ? FINE : FAILED;
}

static int pair_into(PyObject *dict, Part pair, int depth) {
    Part key = {NULL, NULL}, any = {NULL, NULL};
    while (pair.at < pair.end) {
        uint32_t number;
        int type;
        TRY(tag(&pair, &number, &type));
        if (type != LENGTH || number > 2 || (number == 1 ? key.at != NULL : any.at != NULL))
            return ODD;
        TRY(piece(&pair, number == 1 ? &key : &any));
    }
    PyObject *name, *value;
    TRY(value_of(any, depth + 1, &value));
    int became = name_of(&key, &name);
    if (became == FINE) {
        if (PyDict_SetItem(dict, name, value))
            became = FAILED;
        Py_DECREF(name);
    }
    Py_DECREF(value);
    return became;
}

/* ---------------------------------------------------------------- spans */

static int status_of(Part status, Seen *seen) {
    if (seen->has_status)
        return ODD;
    seen->has_status = 1;
    while (status.at < status.end) {
        uint32_t number;
        int type;
        uint64_t code;
        TRY(tag(&status, &number, &type));
        if (number == 2 && type == LENGTH) {
            TRY(piece(&status, &seen->message));
            if (!is_utf8(&seen->message))
                return ODD;
        } else if (number == 3 && type == VARINT) {
            TRY(varint(&status, &code));
            if (code > INT32_MAX)
                return ODD;
            seen->is_error = code == 2;
        } else
            return ODD;
    }
    return FINE;
}

static int event_of(Part event, PyObject *events) {
    Part name = {NULL, NULL};
    uint64_t at = 0;
    PyObject *attributes = PyDict_New(), *title = NULL, *made = NULL;
    int became = attributes ? FINE : FAILED;
    while (became == FINE && event.at < event.end) {
        uint32_t number;
        int type;
        Part inner;
        became = tag(&event, &number, &type);
        if (became != FINE)
            break;
        if (number == 1 && type == FIXED64)
            became = fixed64(&event, &at);
        else if (number == 2 && type == LENGTH)
            became = name.at ? ODD : piece(&event, &name);
        else if (number == 3 && type == LENGTH) {
            became = piece(&event, &inner);
            if (became == FINE)
                became = pair_into(attributes, inner, 0);
        } else
            became = checked_field(&event, EVENT, number, type, 0);
    }
    if (became == FINE)
        became = name_of(&name, &title);
    if (became == FINE) {
        made = Py_BuildValue("(OKO)", title, (unsigned long long)at, attributes);
        if (!made || PyList_Append(events, made))
            became = FAILED;
    }
    Py_XDECREF(made);
    Py_XDECREF(title);
    Py_XDECREF(attributes);
    return became;
}

/* What was left for later. */
static int read_pairs(Seen *seen) {
    for (Py_ssize_t i = 0; i < seen->count; i++)
        TRY(pair_into(seen->attributes, seen->pairs[i], 0));
    seen->pairs = NULL;
    return FINE;
}

static int span_length(Part *span, uint32_t number, Seen *seen) {
    Part inner;
    TRY(piece(span, &inner));
    switch (number) {
    case 1:
        seen->trace_id = inner;
        return FINE;
    case 2:
        seen->span_id = inner;
        return FINE;
    case 4:
        seen->parent_span_id = inner;
        return FINE;
    case 3:
        return is_utf8(&inner) ? FINE : ODD;
    case 5:
        seen->name = inner;
        return is_utf8(&inner) ? FINE : ODD;
    case 9:
        if (!seen->attributes)
            return checked(inner, PAIR, 0);
        if (seen->pairs && seen->count == MOST_PAIRS)
            TRY(read_pairs(seen));
        if (!seen->pairs)
            return pair_into(seen->attributes, inner, 0);
        seen->pairs[seen->count++] = inner;
        return FINE;
    case 11:
        return seen->events ? event_of(inner, seen->events) : checked(inner, EVENT, 0);
    case 13:
        return checked(inner, LINK, 0);
    case 15:
        return status_of(inner, seen);
    default:
        return ODD;
    }
}

static int span_of(Part span, Seen *seen) {
    while (span.at < span.end) {
        uint32_t number;
        int type;
        TRY(tag(&span, &number, &type));
        if (type == LENGTH)
            TRY(span_length(&span, number, seen));
        else if (number == 7 && type == FIXED64)
            TRY(fixed64(&span, &seen->start));
        else if (number == 8 && type == FIXED64)
            TRY(fixed64(&span, &seen->end));
        else if (((number == 6 || number == 10 || number == 12 || number == 14) && type == VARINT) ||
                 (number == 16 && type == FIXED32))
            TRY(skipped(&span, type));
        else
            return ODD;
    }
    return FINE;
}

static PyObject *bytes_of(const Part *part) {
    return PyBytes_FromStringAndSize((const char *)part->at, part->end - part->at);
}

static PyObject *identity_of(const Seen *seen) {
    return Py_BuildValue("(NNNKK)", bytes_of(&seen->trace_id), bytes_of(&seen->span_id), bytes_of(&seen->parent_span_id),
                         (unsigned long long)seen->start, (unsigned long long)seen->end);
}

/* What the spans of one scope share; without a resource they are checked, not read. */
typedef struct {
    PyObject *resource, *name, *version;
    Usual *usual; /* NULL: all are read the long way */
} Scope;

/* As a tuple; with `learn`, which may be NULL, where usual ones are made at once. */
static PyObject *tuple_of(const Seen *seen, const Scope *scope, PyObject *learn) {
    PyObject *is_error = seen->is_error ? Py_True : Py_False;
    if (!scope->usual)
        return Py_BuildValue("(NNOOONOOO)", identity_of(seen), text(&seen->name), seen->attributes, seen->events,
                             is_error, text(&seen->message), scope->name, scope->resource, scope->version);
    return Py_BuildValue("(NNOOONOOOO)", identity_of(seen), text(&seen->name), seen->attributes, seen->events, is_error,
                         text(&seen->message), scope->name, scope->resource, scope->version, learn ? learn : Py_None);
}

/* A span that is usual, or a tuple. */
static int read_span(Part span, Seen *seen, const Scope *scope, PyObject **made) {
    PyObject *learn = NULL;
    int became = span_of(span, seen);
    if (became == FINE && seen->pairs) {
        became = usual_span(seen, scope->name, scope->version, scope->usual, made, &learn);
        if (became == FINE)
            return FINE;
        if (became == ODD)
            became = read_pairs(seen);
    }
    if (became == FINE && !(*made = tuple_of(seen, scope, learn)))
        became = FAILED;
    Py_XDECREF(learn);
    return became;
}

static int whole_span(Part span, const Scope *scope, PyObject *found) {
    static const uint8_t nothing = 0;
    Part none = {&nothing, &nothing}, pairs[MOST_PAIRS];
    Seen seen = {none, none, none, none, none, 0, 0, 0, 0, NULL, NULL, scope->usual ? pairs : NULL, 0};
    PyObject *made = NULL;
    int became = FAILED;
    if (!scope->resource) {
        became = span_of(span, &seen);
        if (became == FINE && !(made = identity_of(&seen)))
            became = FAILED;
    } else {
        seen.attributes = PyDict_New();
        seen.events = PyList_New(0);
        if (seen.attributes && seen.events)
            became = read_span(span, &seen, scope, &made);
        Py_XDECREF(seen.attributes);
        Py_XDECREF(seen.events);
    }
    if (became == FINE && PyList_Append(found, made))
        became = FAILED;
    Py_XDECREF(made);
    return became;
}

/* ---------------------------------------------------------------- the request */

static int scope_texts(Part message, Scope *scope) {
    Part name = {NULL, NULL}, version = {NULL, NULL};
    TRY(checked(message, SCOPE, 0));
    while (message.at < message.end) {
        uint32_t number;
        int type;
        TRY(tag(&message, &number, &type));
        if (number == 1 || number == 2)
            TRY(piece(&message, number == 1 ? &name : &version));
        else
            TRY(skipped(&message, type));
    }
    Py_CLEAR(scope->name);
    Py_CLEAR(scope->version);
    TRY(name_of(&name, &scope->name));
    return name_of(&version, &scope->version);
}

/* Twice over: the scope may stand behind its spans. */
static int scope_spans(Part message, PyObject *resource, Usual *usual, PyObject *found) {
    Scope scope = {resource, PyUnicode_New(0, 0), PyUnicode_New(0, 0), usual};
    int became = scope.name && scope.version ? FINE : FAILED, scopes = 0;
    for (int round = 0; round < 2; round++) {
        Part rest = message;
        while (became == FINE && rest.at < rest.end) {
            uint32_t number;
            int type;
            Part inner;
            became = tag(&rest, &number, &type);
            if (became == FINE)
                became = type == LENGTH ? piece(&rest, &inner) : ODD;
            if (became != FINE)
                break;
            if (number == 1) {
                if (!round)
                    became = scopes++ ? ODD : scope_texts(inner, &scope);
            } else if (number == 2) {
                if (round)
                    became = whole_span(inner, &scope, found);
            } else if (number != 3 || !is_utf8(&inner))
                became = ODD;
        }
    }
    Py_XDECREF(scope.name);
    Py_XDECREF(scope.version);
    return became;
}

static int resource_into(Part message, PyObject *resource) {
    TRY(checked(message, RESOURCE, 0));
    while (resource && message.at < message.end) {
        uint32_t number;
        int type;
        Part inner;
        TRY(tag(&message, &number, &type));
        if (number != 1) {
            TRY(skipped(&message, type));
            continue;
        }
        TRY(piece(&message, &inner));
        TRY(pair_into(resource, inner, 0));
    }
    return FINE;
}

/* `usual`: NULL, or of whom the spans are; then the resource comes before its spans, there too. */
static int resource_spans(Part message, int is_whole, Usual *usual, PyObject *found) {
    PyObject *resource = is_whole ? PyDict_New() : NULL;
    int became = is_whole && !resource ? FAILED : FINE, scopes = 0;
    if (became == FINE && usual && PyList_Append(found, resource))
        became = FAILED;
    while (became == FINE && message.at < message.end) {
        uint32_t number;
        int type;
        Part inner;
        became = tag(&message, &number, &type);
        if (became == FINE)
            became = type == LENGTH ? piece(&message, &inner) : ODD;
        if (became != FINE)
            break;
        if (number == 1)
            became = usual && scopes ? ODD : resource_into(inner, resource);
        else if (number == 2) {
            scopes++;
            became = scope_spans(inner, resource, usual, found);
        } else if (number != 3 || !is_utf8(&inner))
            became = ODD;
    }
    Py_XDECREF(resource);
    return became;
}

static PyObject *read_request(PyObject *body, int is_whole, Usual *usual) {
    Py_buffer view;
    if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE))
        return NULL;
    PyObject *found = PyList_New(0);
    int became = found ? FINE : FAILED;
    Part request = {view.buf, (const uint8_t *)view.buf + view.len};
    while (became == FINE && request.at < request.end) {
        uint32_t number;
        int type;
        Part inner;
        became = tag(&request, &number, &type);
        if (became == FINE)
            became = number == 1 && type == LENGTH ? piece(&request, &inner) : ODD;
        if (became == FINE)
            became = resource_spans(inner, is_whole, usual, found);
    }
    PyBuffer_Release(&view);
    return judged(found, became);
}

static PyObject *identities(PyObject *module, PyObject *body) { return read_request(body, 0, NULL); }

static PyObject *received(PyObject *module, PyObject *body) { return read_request(body, 1, NULL); }

static PyObject *spans_alike(PyObject *module, PyObject *arguments) {
    Usual usual;
    PyObject *body;
    if (!PyArg_ParseTuple(arguments, "S(O!OOO!)OKK", &body, &PyType_Type, &usual.span, &usual.usage, &usual.official,
                          &PyDict_Type, &usual.shapes, &usual.tenant_id, &usual.oldest, &usual.newest))
        return NULL;
    if (usual_ready(&usual) != FINE)
        return NULL;
    PyObject *found = read_request(body, 1, &usual);
    usual_done(&usual);
    return found;
}

static PyMethodDef METHODS[] = {
    {"identities", identities, METH_O, "Ids and times of all spans of a body; None: protobuf must judge."},
    {"received", received, METH_O, "All spans of a body, as tuples; None: protobuf must judge."},
    {"spans_alike", spans_alike, METH_VARARGS, "Spans of a body, resources and tuples; None: protobuf must judge."},
    {"packed", packed, METH_VARARGS, "Rows in the format of a binary COPY, without its head and tail."},
    {"row_plan", row_plan, METH_VARARGS, "Where in objects the values of a row are: what `packed_by` takes."},
    {"packed_by", packed_by, METH_VARARGS, "The same as `packed`, of rows as a plan takes them, or whole."},
    {"plain_texts", plain_texts, METH_O, "Roles and texts of messages of one plain text each; None: look closer."},
    {"looks_clean", looks_clean, METH_O, "Whether no personal data or secret can stand in a text, or in JSON of one."},
    {"values_look_clean", values_look_clean, METH_O, "The same of all values of a dict: texts, numbers and truths."},
    {"values_are_small", values_are_small, METH_VARARGS, "Whether all values of a dict are small and plain."},
    {"values_hold_no_media", values_hold_no_media, METH_VARARGS, "Whether no value of a dict holds media."},
    {"are_short", are_short, METH_VARARGS, "Whether all texts of a tuple are plain ASCII, and so short."},
    {"last_words", last_words, METH_VARARGS, "The first words of the last of plain messages; None: look closer."},
    {"anchors_in", anchors_in, METH_VARARGS, "Bits of the groups of which an anchor stands in an ASCII text."},
    {"look", look, METH_VARARGS, "All looks at a span's contents and attributes, as bits."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_compiled", NULL, -1, METHODS};

PyMODINIT_FUNC PyInit__compiled(void) {
    looks_ready();
    PyObject *module = PyModule_Create(&MODULE);
    if (module && PyModule_AddIntConstant(module, "FORM", FORM))
        Py_CLEAR(module);
    return module;
}
