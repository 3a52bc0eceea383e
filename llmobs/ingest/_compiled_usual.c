/* Spans that are like others before them: those with the same attributes' names (their shape) and the same few texts
   that all else depends on. A span of that kind was read the long way, and is the template: what is its own (ids, times,
   tokens, contents, attributes) is put into a copy (`otlp.alike`, which makes shapes and templates).

   1. The attributes' names, with the scope, are the shape's key. 2. Each attribute is kept, or taken as its shape says.
   3. The texts that were taken, and what there is of tokens, are the template's key. 4. A copy of it is filled.
   Whatever is unusual in a value is left to the long way. */

#include "_compiled_usual.h"

#include <math.h>
#include <stddef.h>
#include <structmember.h>

#define LONGEST_TEXT 200
#define LONGEST_VALUE 4096
#define LONGEST_CONTENT 1000000
#define MOST_TOKENS 1000000000000LL

/* What becomes of an attribute: as in otlp.alike. Above it the place among the names of one field. */
enum {
    KEPT, OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, ERROR_TYPE, RESPONSE_ID, USER, SESSION, FEATURE,
    INPUT, OUTPUT, INPUT_TOKENS, OUTPUT_TOKENS, CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H, REASONING, AS_IT_IS, SLOTS
};
#define SLOT(action) ((action) & 31)
#define RANK(action) ((action) >> 5)

typedef struct {
    Part text;
    long long number;
    int rank; /* of the name that it was taken from; SLOTS: none */
} Taken;

static inline Py_ssize_t length_of(const Part *part) { return part->end - part->at; }

static int is_same(const Part *one, const Part *other) {
    return length_of(one) == length_of(other) && !memcmp(one->at, other->at, length_of(one));
}

/* ---------------------------------------------------------------- keys */

/* With its length before it, in two bytes. */
static int put(Bytes *key, const void *bytes, Py_ssize_t length) {
    if (length > 0xffff || length + 2 > LONGEST_KEY - key->filled)
        return ODD;
    key->bytes[key->filled++] = (uint8_t)(length >> 8);
    key->bytes[key->filled++] = (uint8_t)length;
    memcpy(key->bytes + key->filled, bytes, length);
    key->filled += length;
    return FINE;
}

static int put_text(Bytes *key, PyObject *text) {
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    return bytes ? put(key, bytes, length) : FAILED;
}

static PyObject *key_of(const Bytes *key) {
    return PyBytes_FromStringAndSize((const char *)key->bytes, key->filled);
}

/* ---------------------------------------------------------------- the shape */

static int pair_of(Part pair, Part *name, Part *value) {
    static const uint8_t nothing = 0;
    name->at = name->end = value->at = value->end = NULL;
    while (pair.at < pair.end) {
        uint32_t number;
        int type;
        TRY(tag(&pair, &number, &type));
        if (type != LENGTH || number > 2 || (number == 1 ? name->at != NULL : value->at != NULL))
            return ODD;
        TRY(piece(&pair, number == 1 ? name : value));
    }
    if (!name->at)
        name->at = name->end = &nothing;
    if (!value->at)
        value->at = value->end = &nothing;
    return FINE;
}

/* The plan of the span's shape, borrowed; NULL: there is none yet. */
static int plan_of(const Bytes *key, Usual *usual, PyObject **plan) {
    const Bytes *before = &usual->keys[!usual->turn];
    if (usual->plan && before->filled == key->filled && !memcmp(before->bytes, key->bytes, key->filled)) {
        *plan = usual->plan;
        return FINE;
    }
    PyObject *made = key_of(key);
    if (!made)
        return FAILED;
    *plan = PyDict_GetItemWithError(usual->shapes, made);
    Py_DECREF(made);
    if (!*plan && PyErr_Occurred())
        return FAILED;
    Py_XSETREF(usual->plan, Py_XNewRef(*plan));
    usual->turn = !usual->turn;
    return FINE;
}

/* ---------------------------------------------------------------- values */

static int plain_text(const Part *part, Py_ssize_t longest) {
    return length_of(part) <= longest && !memchr(part->at, 0, length_of(part)) ? FINE : ODD;
}

static int decoded(const Part *part, PyObject **found) {
    *found = PyUnicode_DecodeUTF8((const char *)part->at, length_of(part), NULL);
    if (*found)
        return FINE;
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return FAILED;
    PyErr_Clear();
    return ODD;
}

/* Whether it is one: of what nobody will read. */
static int is_text(const Part *part) {
    PyObject *found;
    TRY(decoded(part, &found));
    Py_DECREF(found);
    return FINE;
}

/* The only field of a value: its number, and of a text its part, of others their bits. */
static int field_of(Part value, uint32_t *number, Part *text, uint64_t *bits) {
    int type;
    TRY(tag(&value, number, &type));
    if (*number == 1 && type == LENGTH)
        TRY(piece(&value, text));
    else if ((*number == 2 || *number == 3) && type == VARINT)
        TRY(varint(&value, bits));
    else if (*number == 4 && type == FIXED64)
        TRY(fixed64(&value, bits));
    else
        return ODD;
    return value.at == value.end ? FINE : ODD;
}

static int kept_value(Part value, PyObject **found) {
    uint32_t number;
    Part text;
    uint64_t bits;
    double plain;
    TRY(field_of(value, &number, &text, &bits));
    switch (number) {
    case 1:
        TRY(plain_text(&text, LONGEST_VALUE));
        return decoded(&text, found);
    case 2:
        *found = PyBool_FromLong(bits != 0);
        break;
    case 3:
        *found = PyLong_FromLongLong((long long)bits);
        break;
    default:
        memcpy(&plain, &bits, 8);
        if (!isfinite(plain))
            return ODD;
        *found = PyFloat_FromDouble(plain);
    }
    return *found ? FINE : FAILED;
}

static int keep(PyObject *attributes, PyObject *name, Part value) {
    PyObject *found;
    TRY(kept_value(value, &found));
    int failed = PyDict_SetItem(attributes, name, found);
    Py_DECREF(found);
    return failed ? FAILED : FINE;
}

/* A text or a count into its field, if it is not there by a name that is believed more. */
static int take(Part value, int slot, int rank, Taken *taken) {
    uint32_t number;
    Part text;
    uint64_t bits;
    TRY(field_of(value, &number, &text, &bits));
    Taken *into = &taken[slot];
    if (slot < INPUT_TOKENS) {
        if (number != 1)
            return ODD;
        if (slot != INPUT && slot != OUTPUT)
            TRY(plain_text(&text, LONGEST_TEXT));
        if (text.at == text.end)
            return FINE;
        if (into->rank != SLOTS)
            TRY(is_text(rank < into->rank ? &into->text : &text));
        if (rank >= into->rank)
            return FINE;
        into->text = text;
    } else {
        if (number != 3 || (long long)bits < 0 || (long long)bits > MOST_TOKENS)
            return ODD;
        if (rank >= into->rank)
            return FINE;
        into->number = (long long)bits;
    }
    into->rank = rank;
    return FINE;
}

/* Every attribute, and of the template's key what stands there as it is. */
static int all_taken(const Part *values, Py_ssize_t count, PyObject *plan, Taken *taken, PyObject *attributes,
                     Bytes *key) {
    PyObject *actions = PyTuple_GET_ITEM(plan, 0), *names = PyTuple_GET_ITEM(plan, 1);
    if (!PyBytes_Check(actions) || !PyTuple_Check(names) || PyBytes_GET_SIZE(actions) != count ||
        PyTuple_GET_SIZE(names) != count)
        return ODD;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint8_t action = (uint8_t)PyBytes_AS_STRING(actions)[i];
        int slot = SLOT(action);
        if (slot == KEPT)
            TRY(keep(attributes, PyTuple_GET_ITEM(names, i), values[i]));
        else if (slot == AS_IT_IS) {
            if (length_of(&values[i]) > LONGEST_TEXT)
                return ODD;
            TRY(put(key, values[i].at, length_of(&values[i])));
        } else if (slot < SLOTS)
            TRY(take(values[i], slot, RANK(action), taken));
        else
            return ODD;
    }
    return FINE;
}

/* ---------------------------------------------------------------- the template */

static int template_key(const Seen *seen, const Taken *taken, Bytes *key) {
    for (int slot = OPERATION; slot <= ERROR_TYPE; slot++)
        TRY(put(key, taken[slot].text.at, length_of(&taken[slot].text)));
    TRY(plain_text(&seen->name, LONGEST_TEXT));
    TRY(plain_text(&seen->message, LONGEST_TEXT));
    TRY(put(key, seen->name.at, length_of(&seen->name)));
    TRY(put(key, seen->message.at, length_of(&seen->message)));
    uint8_t bits = (uint8_t)(seen->is_error != 0) | (uint8_t)(taken[CACHE_READ].number > 0) << 1 |
                   (uint8_t)(taken[CACHE_WRITE].number > 0) << 2 | (uint8_t)(taken[REASONING].number > 0) << 3;
    return put(key, &bits, 1);
}

/* A copy, with a reference to each of its values. */
static PyObject *copy_of(PyObject *template, PyTypeObject *type) {
    PyObject *made = type->tp_alloc(type, 0);
    if (!made)
        return NULL;
    for (Py_ssize_t at = sizeof(PyObject); at < type->tp_basicsize; at += sizeof(PyObject *))
        *(PyObject **)((char *)made + at) = Py_XNewRef(*(PyObject **)((char *)template + at));
    return made;
}

/* Takes the reference. 0: there is none, with an exception. */
static int set(PyObject *span, Py_ssize_t at, PyObject *value) {
    if (!value)
        return 0;
    Py_XSETREF(*(PyObject **)((char *)span + at), value);
    return 1;
}

static PyObject *bytes_at(const Part *part) {
    return PyBytes_FromStringAndSize((const char *)part->at, length_of(part));
}

static PyObject *usage_of(const Taken *taken, PyObject *type) {
    if (taken[INPUT_TOKENS].rank == SLOTS && taken[OUTPUT_TOKENS].rank == SLOTS)
        return Py_NewRef(Py_None);
    long long written = taken[CACHE_WRITE].number;
    long long hour = taken[CACHE_WRITE_1H].number < written ? taken[CACHE_WRITE_1H].number : written;
    long long classes[6] = {taken[INPUT_TOKENS].number - taken[CACHE_READ].number - written,
                            taken[CACHE_READ].number, written - hour, hour, taken[OUTPUT_TOKENS].number,
                            taken[REASONING].number};
    PyObject *numbers[6] = {NULL}, *made = NULL;
    int fine = 1;
    for (int i = 0; i < 6; i++)
        fine = (numbers[i] = PyLong_FromLongLong(classes[i])) != NULL && fine;
    if (fine)
        made = PyObject_Vectorcall(type, numbers, 6, NULL);
    for (int i = 0; i < 6; i++)
        Py_XDECREF(numbers[i]);
    return made;
}

/* User, session and feature as they were said; the same tuple as long as they stay. */
static int whom_of(const Taken *taken, Usual *usual, PyObject **found) {
    if (!usual->said || !is_same(&usual->whom[0], &taken[USER].text) ||
        !is_same(&usual->whom[1], &taken[SESSION].text) || !is_same(&usual->whom[2], &taken[FEATURE].text)) {
        PyObject *texts[3] = {NULL, NULL, NULL};
        int became = FINE;
        for (int i = 0; became == FINE && i < 3; i++) {
            usual->whom[i] = taken[USER + i].text;
            became = decoded(&taken[USER + i].text, &texts[i]);
        }
        Py_CLEAR(usual->said);
        if (became == FINE && !(usual->said = PyTuple_Pack(3, texts[0], texts[1], texts[2])))
            became = FAILED;
        for (int i = 0; i < 3; i++)
            Py_XDECREF(texts[i]);
        if (became != FINE)
            return became;
    }
    *found = Py_NewRef(usual->said);
    return FINE;
}

/* Messages in our form as they are; of all others `messages.official` knows. */
static int content_of(const Taken *taken, const char *role, Usual *usual, PyObject **found) {
    const Part *text = &taken->text;
    *found = NULL;
    if (taken->rank == SLOTS) {
        *found = Py_NewRef(Py_None);
        return FINE;
    }
    TRY(decoded(text, found));
    if (length_of(text) <= LONGEST_CONTENT && are_plain_messages((const char *)text->at, length_of(text)))
        return FINE;
    PyObject *given = *found;
    *found = PyObject_CallFunction(usual->official, "OOs", given, Py_None, role);
    Py_DECREF(given);
    return *found ? FINE : FAILED;
}

static int is_nothing(const Part *part) {
    for (const uint8_t *at = part->at; at < part->end; at++)
        if (*at)
            return 0;
    return 1;
}

/* As `otlp.check.fault` wants them. */
static int may_be(const Seen *seen, const Usual *usual) {
    Py_ssize_t parent = length_of(&seen->parent_span_id);
    return length_of(&seen->trace_id) == 16 && !is_nothing(&seen->trace_id) && length_of(&seen->span_id) == 8 &&
           !is_nothing(&seen->span_id) && (parent == 0 || parent == 8) && seen->start <= seen->end &&
           usual->oldest <= seen->start && seen->end <= usual->newest;
}

static int filled(PyObject *span, const Seen *seen, const Taken *taken, PyObject *attributes, Usual *usual) {
    const Places *places = &usual->places;
    PyObject *whom, *given, *answered, *response;
    TRY(whom_of(taken, usual, &whom));
    set(span, places->attribution, whom);
    TRY(content_of(&taken[INPUT], "user", usual, &given));
    set(span, places->input, given);
    TRY(content_of(&taken[OUTPUT], "assistant", usual, &answered));
    set(span, places->output, answered);
    TRY(decoded(&taken[RESPONSE_ID].text, &response));
    set(span, places->response_id, response);
    int has_parent = !is_nothing(&seen->parent_span_id);
    int fine = set(span, places->tenant_id, Py_NewRef(usual->tenant_id)) &&
               set(span, places->trace_id, bytes_at(&seen->trace_id)) &&
               set(span, places->span_id, bytes_at(&seen->span_id)) &&
               set(span, places->parent_span_id, has_parent ? bytes_at(&seen->parent_span_id) : Py_NewRef(Py_None)) &&
               set(span, places->start_ns, PyLong_FromUnsignedLongLong(seen->start)) &&
               set(span, places->duration_ns, PyLong_FromUnsignedLongLong(seen->end - seen->start)) &&
               set(span, places->usage, usage_of(taken, usual->usage)) &&
               set(span, places->attributes, Py_NewRef(attributes));
    return fine ? FINE : FAILED;
}

/* A span like the template under this key; where there is none, ODD, and what it may teach. */
static int made_like(const Seen *seen, const Taken *taken, const Bytes *key, PyObject *templates,
                     PyObject *attributes, Usual *usual, PyObject **made, PyObject **learn) {
    PyObject *name = key_of(key);
    if (!name)
        return FAILED;
    PyObject *template = PyDict_GetItemWithError(templates, name);
    if (!template && !PyErr_Occurred())
        *learn = PyTuple_Pack(2, templates, name);
    Py_DECREF(name);
    if (!template)
        return *learn ? ODD : FAILED;
    if (Py_TYPE(template) != usual->span)
        return ODD;
    PyObject *span = copy_of(template, usual->span);
    if (!span)
        return FAILED;
    int became = filled(span, seen, taken, attributes, usual);
    if (became == FINE)
        *made = span;
    else
        Py_DECREF(span);
    return became;
}

static int by_plan(const Seen *seen, const Part *values, PyObject *plan, Usual *usual, PyObject **made,
                   PyObject **learn) {
    static const uint8_t nothing = 0;
    Taken taken[SLOTS];
    Bytes key;
    key.filled = 0;
    for (int slot = 0; slot < SLOTS; slot++)
        taken[slot] = (Taken){{&nothing, &nothing}, 0, SLOTS};
    if (!PyTuple_Check(plan) || PyTuple_GET_SIZE(plan) != 3 || !PyDict_Check(PyTuple_GET_ITEM(plan, 2)))
        return ODD;
    PyObject *attributes = PyDict_New();
    int became = attributes ? all_taken(values, seen->count, plan, taken, attributes, &key) : FAILED;
    int tells_more = taken[CACHE_READ].number + taken[CACHE_WRITE].number > taken[INPUT_TOKENS].number ||
                     taken[REASONING].number > taken[OUTPUT_TOKENS].number;
    if (became == FINE)
        became = tells_more ? ODD : template_key(seen, taken, &key);
    if (became == FINE)
        became = made_like(seen, taken, &key, PyTuple_GET_ITEM(plan, 2), attributes, usual, made, learn);
    Py_XDECREF(attributes);
    return became;
}

int usual_span(const Seen *seen, PyObject *scope_name, PyObject *scope_version, Usual *usual, PyObject **made,
               PyObject **learn) {
    Part values[MOST_PAIRS];
    *made = *learn = NULL;
    if (!may_be(seen, usual) || (seen->events && PyList_GET_SIZE(seen->events)))
        return ODD;
    Bytes *key = &usual->keys[usual->turn];
    key->filled = 0;
    TRY(put_text(key, scope_name));
    TRY(put_text(key, scope_version));
    for (Py_ssize_t i = 0; i < seen->count; i++) {
        Part name;
        TRY(pair_of(seen->pairs[i], &name, &values[i]));
        TRY(put(key, name.at, length_of(&name)));
    }
    PyObject *plan;
    TRY(plan_of(key, usual, &plan));
    if (plan)
        return by_plan(seen, values, plan, usual, made, learn);
    *learn = key_of(key);
    return *learn ? ODD : FAILED;
}

/* ---------------------------------------------------------------- its types */

static Py_ssize_t place_in(PyTypeObject *type, const char *name) {
    PyObject *found = PyObject_GetAttrString((PyObject *)type, name);
    Py_ssize_t place = -1;
    if (found && Py_TYPE(found) == &PyMemberDescr_Type)
        place = ((PyMemberDescrObject *)found)->d_member->offset;
    Py_XDECREF(found);
    return place;
}

/* Whether a Span holds references alone, so that it can be copied; an exception where it does not. */
static int is_plain(PyTypeObject *type) {
    return type->tp_base == &PyBaseObject_Type && !type->tp_itemsize && !type->tp_dictoffset &&
           !type->tp_weaklistoffset && (type->tp_basicsize - sizeof(PyObject)) % sizeof(PyObject *) == 0;
}

int usual_ready(Usual *usual) {
    static const struct {
        const char *name;
        size_t place;
    } FIELDS[] = {
        {"tenant_id", offsetof(Places, tenant_id)}, {"trace_id", offsetof(Places, trace_id)},
        {"span_id", offsetof(Places, span_id)}, {"parent_span_id", offsetof(Places, parent_span_id)},
        {"start_ns", offsetof(Places, start_ns)}, {"duration_ns", offsetof(Places, duration_ns)},
        {"attribution", offsetof(Places, attribution)}, {"response_id", offsetof(Places, response_id)},
        {"usage", offsetof(Places, usage)}, {"attributes", offsetof(Places, attributes)},
        {"input", offsetof(Places, input)}, {"output", offsetof(Places, output)},
    };
    int fine = is_plain(usual->span);
    for (size_t i = 0; fine && i < sizeof FIELDS / sizeof *FIELDS; i++) {
        Py_ssize_t place = place_in(usual->span, FIELDS[i].name);
        fine = place >= (Py_ssize_t)sizeof(PyObject);
        *(Py_ssize_t *)((char *)&usual->places + FIELDS[i].place) = place;
    }
    if (!fine && !PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "a span is an object of slots alone");
    usual->plan = usual->said = NULL;
    usual->turn = 0;
    return fine ? FINE : FAILED;
}

void usual_done(Usual *usual) {
    Py_CLEAR(usual->plan);
    Py_CLEAR(usual->said);
}
