/* Looks at texts, so that what holds nothing need not be looked at any closer.

   looks_clean(text): whether no personal data or secret can stand in it, as `guards.sensitive.may_hold` says.
   anchors_in(…): which anchors of injections stand in it (`guards.anchors`).
   plain_texts(text): messages as most are, taken apart.
   look(…): all of it at once, of a span. */

#include "_compiled.h"

/* ---------------------------------------------------------------- personal data and secrets */

#define LONGEST_PLAIN_RUN 16 /* as in guards.sensitive */

typedef struct {
    const uint8_t *start, *at, *end;
} Look;

/* What a byte is: DIGIT, WORD (with DIGIT) of runs, SIGN what a closer look begins at, GAP what parts digits. */
enum { DIGIT = 1, WORD = 2, SIGN = 4, GAP = 8 };
static uint8_t KINDS[256];

static void name_kinds(void) {
    for (int c = '0'; c <= '9'; c++)
        KINDS[c] = DIGIT | WORD | SIGN;
    for (int c = 'a'; c <= 'z'; c++)
        KINDS[c] = KINDS[c - 'a' + 'A'] = WORD;
    KINDS['_'] = WORD;
    KINDS['@'] = KINDS['\\'] = SIGN;
    for (const char *c = " -/()."; *c; c++)
        KINDS[(uint8_t)*c] |= GAP;
}

static Py_ssize_t digits_from(const uint8_t *at, const uint8_t *end) {
    const uint8_t *start = at;
    while (at < end && KINDS[*at] & DIGIT)
        at++;
    return at - start;
}

/* At the first digit of a run: +9, 9999999, 999.99, 99.99.99 (a dot: what separates groups). */
static int is_number(const Look *look) {
    const uint8_t *at = look->at;
    Py_ssize_t count = digits_from(at, look->end);
    if (count >= 7 || (at > look->start && at[-1] == '+'))
        return 1;
    const uint8_t *gap = at + count;
    if (count < 2 || gap == look->end || !(KINDS[*gap] & GAP))
        return 0;
    Py_ssize_t second = digits_from(gap + 1, look->end);
    if (count >= 3 && second >= 2)
        return 1;
    const uint8_t *next = gap + 1 + second;
    return second == 2 && next < look->end && KINDS[*next] & GAP && digits_from(next + 1, look->end) >= 2;
}

/* What an escape hides nobody sees here. */
static int is_escape(const Look *look) {
    return look->end - look->at > 1 && (look->at[1] == 'u' || look->at[1] == '/');
}

static int is_told(const Look *look) {
    uint8_t c = *look->at;
    if (KINDS[c] & DIGIT)
        return (look->at == look->start || !(KINDS[look->at[-1]] & DIGIT)) && is_number(look);
    return c == '@' || (c == '\\' && is_escape(look));
}

static int is_long_run(const Look *look) {
    const uint8_t *first = look->at, *last = look->at;
    while (first > look->start && KINDS[first[-1]] & WORD)
        first--;
    while (last < look->end && KINDS[*last] & WORD)
        last++;
    return last - first >= LONGEST_PLAIN_RUN;
}

#define AT_ONCE 512

/* Of each byte whether it is a WORD, in one step for many. */
__attribute__((optimize("O3"))) static void words_of(uint8_t *words, const uint8_t *at, Py_ssize_t length) {
    for (Py_ssize_t i = 0; i < length; i++) {
        uint8_t c = at[i];
        words[i] = ((uint8_t)((c | 32) - 'a') < 26) | ((uint8_t)(c - '0') < 10) | (c == '_');
    }
}

/* A long run fills eight bytes of every eight somewhere. */
static int has_long_run(Look look) {
    uint8_t words[AT_ONCE];
    for (const uint8_t *part = look.start; look.end - part >= 8; part += AT_ONCE) {
        Py_ssize_t length = look.end - part < AT_ONCE ? look.end - part : AT_ONCE;
        words_of(words, part, length);
        for (Py_ssize_t i = 0; i + 8 <= length; i += 8) {
            uint64_t eight;
            memcpy(&eight, words + i, 8);
            look.at = part + i;
            if (eight == 0x0101010101010101u && is_long_run(&look))
                return 1;
        }
    }
    return 0;
}

__attribute__((optimize("O3"))) static int has_sign(const uint8_t *at, Py_ssize_t length) {
    uint8_t any = 0;
    for (Py_ssize_t i = 0; i < length; i++)
        any |= ((uint8_t)(at[i] - '0') < 10) | (at[i] == '@') | (at[i] == '\\');
    return any;
}

static int has_told(Look look) {
    for (; look.at < look.end; look.at++)
        if (KINDS[*look.at] & SIGN && is_told(&look))
            return 1;
    return 0;
}

/* Some letters of each name that hardly stand elsewhere, in any case; a few other bytes pass for them. */
__attribute__((optimize("O3"))) static int has_name(const uint8_t *at, Py_ssize_t length) {
    uint8_t any = 0;
    for (Py_ssize_t i = 0; i + 4 < length; i++) {
        uint8_t a = at[i] | 32, b = at[i + 1] | 32, c = at[i + 2] | 32, d = at[i + 3] | 32, e = at[i + 4] | 32;
        any |= (a == 'a') & (b == 's') & (c == 's') & (d == 'w'); /* password */
        any |= (b == 'r') & (c == 'e') & (d == 't') & (e == '=');
        any |= ((d == '-') | (d == ('_' | 32))) & (b == 'p') & (c == 'i') & (e == 'k');
        any |= (b == 't') & (c == 'e') & (d == ' ') & (e == 'k'); /* private key */
        any |= (a == 'e') & (b == 'a') & (c == 'r') & (d == 'e') & (e == 'r');
        any |= (a == 'x') & (b == 'o') & (c == 'x') & (e == '-');
    }
    return any || length < 5;
}

/* The names whole; of Slack's keys what each begins with. */
static int names_stand(const uint8_t *at, Py_ssize_t length) {
    static const char *const NAMES[] = {"password", "secret=", "api_key", "api-key", "private key", "bearer ", "xoxa-",
                                        "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-"};
    for (Py_ssize_t i = 0; i < length; i++)
        for (size_t name = 0; name < sizeof NAMES / sizeof *NAMES; name++) {
            const char *letter = NAMES[name];
            Py_ssize_t place = i;
            while (*letter && place < length &&
                   (at[place] >= 'A' && at[place] <= 'Z' ? at[place] | 32 : at[place]) == (uint8_t)*letter)
                letter++, place++;
            if (!*letter)
                return 1;
        }
    return 0;
}

static int is_clean(const uint8_t *start, Py_ssize_t length) {
    Look look = {start, start, start + length};
    if (has_long_run(look) || (has_sign(start, length) && has_told(look)))
        return 0;
    return !has_name(start, length) || !names_stand(start, length);
}

/* 1, 0, or -1 with an exception. A text that is no UTF-8 (lone surrogates) is looked at by others. */
static int is_clean_text(PyObject *text) {
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    if (bytes)
        return is_clean((const uint8_t *)bytes, length);
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return -1;
    PyErr_Clear();
    return 0;
}

PyObject *looks_clean(PyObject *module, PyObject *text) {
    if (!PyUnicode_Check(text))
        Py_RETURN_FALSE;
    int clean = is_clean_text(text);
    return clean < 0 ? NULL : PyBool_FromLong(clean);
}

/* 1, 0, or -1 with an exception. */
static int values_clean(PyObject *attributes) {
    PyObject *name, *value;
    Py_ssize_t place = 0;
    while (PyDict_Next(attributes, &place, &name, &value)) {
        if (PyLong_Check(value) || PyFloat_Check(value) || value == Py_None) /* truths are integers */
            continue;
        int clean = PyUnicode_Check(value) ? is_clean_text(value) : 0;
        if (clean <= 0)
            return clean;
    }
    return 1;
}

PyObject *values_look_clean(PyObject *module, PyObject *attributes) {
    int clean = PyDict_Check(attributes) ? values_clean(attributes) : 0;
    return clean < 0 ? NULL : PyBool_FromLong(clean);
}

/* ---------------------------------------------------------------- anchors of injections */

/* Of 18 bits, two a letter, that nine letters and signs take turns: five letters apart (guards.normal_form). */
#define SPREAD 0x26666u /* 10 01 10 01 … 10: a letter, a sign, a letter … */
#define LAST_NINE 0x3ffffu

typedef struct {
    const uint8_t *kinds; /* of each byte: its class (5 bits), a sign between letters (1), a letter (1) */
    const uint8_t *heads; /* a bit for each three classes that an anchor begins with */
    const uint8_t *classes;
    const char *moves, *told;
    size_t states, width;
    unsigned long long spread;
} Anchors;

/* The bits of all anchors that begin here. Each state is checked: nothing is believed of the tables. */
static uint64_t anchors_from(const Anchors *anchors, const uint8_t *at, const uint8_t *end) {
    const uint8_t *classes = anchors->classes;
    uint64_t seen = 0;
    for (size_t state = 0; at < end; at++) {
        uint16_t next;
        if (classes[*at] >= anchors->width)
            break;
        memcpy(&next, anchors->moves + (state * anchors->width + classes[*at]) * 2, 2);
        if (!next || next >= anchors->states)
            break;
        uint64_t bits;
        memcpy(&bits, anchors->told + (state = next) * 8, 8);
        seen |= bits;
    }
    return seen;
}

static uint64_t all_anchors(const Anchors *anchors, const uint8_t *at, const uint8_t *end) {
    uint64_t seen = 0;
    uint32_t three = 0, nine = 0;
    for (const uint8_t *last = at; last < end + 2; last++) {
        uint8_t kind = last < end ? anchors->kinds[*last] : 0;
        three = (three << 5 | (kind & 31)) & 0x7fff;
        nine = (nine << 2 | kind >> 5) & LAST_NINE;
        if (nine == SPREAD)
            seen |= anchors->spread;
        if (anchors->heads[three >> 3] >> (three & 7) & 1 && last - at >= 2)
            seen |= anchors_from(anchors, last - 2, end);
    }
    return seen;
}

__attribute__((optimize("O3"))) static int has_gaps(const uint8_t *at, Py_ssize_t length) {
    uint8_t any = 0;
    for (Py_ssize_t i = 0; i + 1 < length; i++)
        any |= (at[i] == '\t') | ((at[i] == ' ') & (at[i + 1] == ' '));
    return any | (length && at[length - 1] == '\t');
}

/* Runs of blanks count once, tabs as blanks. */
static Py_ssize_t single_blanks(uint8_t *into, const uint8_t *at, Py_ssize_t length) {
    Py_ssize_t filled = 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        uint8_t c = at[i] == '\t' ? ' ' : at[i];
        if (c != ' ' || !filled || into[filled - 1] != ' ')
            into[filled++] = c;
    }
    return filled;
}

/* As `guards.anchors.tables` makes them; 0 with an exception where they are none. */
static int anchors_of(PyObject *tables, Anchors *anchors) {
    Py_ssize_t kind_bytes, head_bytes, class_bytes, move_bytes, told_bytes;
    if (!PyArg_ParseTuple(tables, "y#y#y#y#y#K", &anchors->kinds, &kind_bytes, &anchors->heads, &head_bytes,
                          &anchors->classes, &class_bytes, &anchors->moves, &move_bytes, &anchors->told, &told_bytes,
                          &anchors->spread))
        return 0;
    anchors->states = told_bytes / 8;
    anchors->width = anchors->states ? move_bytes / 2 / anchors->states : 0;
    if (kind_bytes == 256 && head_bytes == 4096 && class_bytes == 256)
        return 1;
    PyErr_SetString(PyExc_ValueError, "tables of bytes are needed");
    return 0;
}

/* -1 with an exception, 0 otherwise. */
static int anchors_of_text(const Anchors *anchors, const uint8_t *at, Py_ssize_t length, uint64_t *seen) {
    if (!has_gaps(at, length)) {
        *seen |= all_anchors(anchors, at, at + length);
        return 0;
    }
    uint8_t *single = PyMem_Malloc(length);
    if (!single) {
        PyErr_NoMemory();
        return -1;
    }
    *seen |= all_anchors(anchors, single, single + single_blanks(single, at, length));
    PyMem_Free(single);
    return 0;
}

PyObject *anchors_in(PyObject *module, PyObject *arguments) {
    Anchors anchors;
    PyObject *tables, *text;
    uint64_t seen = 0;
    if (!PyArg_ParseTuple(arguments, "O!U", &PyTuple_Type, &tables, &text) || !anchors_of(tables, &anchors))
        return NULL;
    if (!PyUnicode_IS_COMPACT_ASCII(text)) {
        PyErr_SetString(PyExc_ValueError, "an ASCII text is needed");
        return NULL;
    }
    if (anchors_of_text(&anchors, PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text), &seen))
        return NULL;
    return PyLong_FromUnsignedLongLong(seen);
}

/* ---------------------------------------------------------------- messages as most are */

typedef struct {
    const char *at, *end;
} Letters;

/* These letters, with blanks before and between them. */
static int follows(Letters *rest, const char *letters) {
    for (; *letters; letters++) {
        while (rest->at < rest->end && *rest->at == ' ')
            rest->at++;
        if (rest->at == rest->end || *rest->at++ != *letters)
            return 0;
    }
    return 1;
}

static int word_follows(Letters *rest, const char *word) {
    Py_ssize_t length = strlen(word);
    if (!follows(rest, "\"") || rest->end - rest->at <= length || memcmp(rest->at, word, length) ||
        rest->at[length] != '"')
        return 0;
    rest->at += length + 1;
    return 1;
}

static int text_follows(Letters *rest, Letters *found) {
    if (!follows(rest, "\""))
        return 0;
    const char *end = memchr(rest->at, '"', rest->end - rest->at);
    if (!end)
        return 0;
    found->at = rest->at;
    found->end = end;
    rest->at = end + 1;
    return 1;
}

static int message_follows(Letters *rest, Letters *role, Letters *said) {
    return follows(rest, "{") && word_follows(rest, "role") && follows(rest, ":") && text_follows(rest, role) &&
           follows(rest, ",") && word_follows(rest, "parts") && follows(rest, ":[{") && word_follows(rest, "type") &&
           follows(rest, ":") && word_follows(rest, "text") && follows(rest, ",") && word_follows(rest, "content") &&
           follows(rest, ":") && text_follows(rest, said) && follows(rest, "}]}");
}

static int message_into(PyObject *found, const Letters *role, const Letters *said) {
    if (!found)
        return FINE;
    PyObject *one = Py_BuildValue("(s#s#)", role->at, role->end - role->at, said->at, said->end - said->at);
    int failed = !one || PyList_Append(found, one);
    Py_XDECREF(one);
    return failed ? FAILED : FINE;
}

static int messages_into(PyObject *found, Letters rest) {
    if (memchr(rest.at, '\\', rest.end - rest.at) || !follows(&rest, "["))
        return ODD;
    do {
        Letters role, said;
        if (!message_follows(&rest, &role, &said))
            return ODD;
        TRY(message_into(found, &role, &said));
        while (rest.at < rest.end && *rest.at == ' ')
            rest.at++;
        if (rest.at == rest.end)
            return FINE;
    } while (follows(&rest, ","));
    return ODD;
}

/* Into a list; NULL: nowhere, they are looked at alone. */
static int messages_of(PyObject *found, const char *at, Py_ssize_t length) {
    Letters rest = {at, at + length};
    while (rest.end > rest.at && rest.end[-1] == ' ')
        rest.end--;
    if (rest.at == rest.end || *--rest.end != ']')
        return ODD;
    return messages_into(found, rest);
}

/* As `guards.sieve.plain_texts`, of texts in ASCII. */
PyObject *plain_texts(PyObject *module, PyObject *text) {
    if (!PyUnicode_Check(text) || !PyUnicode_IS_COMPACT_ASCII(text))
        Py_RETURN_NONE;
    PyObject *found = PyList_New(0);
    int became = FAILED;
    if (found)
        became = messages_of(found, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    return judged(found, became);
}

__attribute__((optimize("O3"))) static int has_control(const char *at, Py_ssize_t length) {
    uint8_t any = 0;
    for (Py_ssize_t i = 0; i < length; i++)
        any |= (uint8_t)at[i] < ' ';
    return any;
}

int are_plain_messages(const char *at, Py_ssize_t length) {
    return !has_control(at, length) && messages_of(NULL, at, length) == FINE;
}

/* ---------------------------------------------------------------- all at once */

/* What `content.look` is told; above them the anchors of what was asked. */
enum { CLEAN_INPUT = 1, CLEAN_OUTPUT = 2, CLEAN_VALUES = 4, NO_MEDIA = 8, PLAIN_INPUT = 16, FLAG_BITS = 5 };
#define LONG_TEXT 20000 /* as in ingest.media */

/* Whether one of the words may stand there that `ingest.media` looks for: by two letters behind a sign. */
static int may_follow(const uint8_t *at, const uint8_t *end, uint8_t sign, const char *const *beginnings) {
    while (end - at > 2 && (at = memchr(at, sign, end - at - 2)) != NULL) {
        for (const char *const *two = beginnings; *two; two++)
            if (at[1] == (uint8_t)(*two)[0] && at[2] == (uint8_t)(*two)[1])
                return 1;
        at++;
    }
    return 0;
}

static int may_hold_media(const uint8_t *at, Py_ssize_t length) {
    static const char *const NAMES[] = {"da", "by", "b6", "fi", "ba", "bl", "em", "ve", NULL}, *const URL[] = {"ba", NULL};
    return may_follow(at, at + length, '"', NAMES) || may_follow(at, at + length, ';', URL);
}

static int is_role(const Letters *role, const char *const *roles) {
    for (; *roles; roles++)
        if (strlen(*roles) == (size_t)(role->end - role->at) && !memcmp(role->at, *roles, strlen(*roles)))
            return 1;
    return 0;
}

/* The anchors in what was asked, where these are plain messages and none is a tool's (`guards.texts`). */
static int anchors_of_messages(const Anchors *anchors, const char *at, Py_ssize_t length, uint64_t *seen) {
    static const char *const TRUSTED[] = {"system", "developer", "assistant", NULL};
    static const char *const TOOLS[] = {"tool", "function", NULL};
    Letters rest = {at, at + length}, role, said;
    TRY(messages_of(NULL, at, length));
    while (follows(&rest, rest.at == at ? "[" : ",") && message_follows(&rest, &role, &said)) {
        if (is_role(&role, TOOLS))
            return ODD;
        if (!is_role(&role, TRUSTED) &&
            anchors_of_text(anchors, (const uint8_t *)said.at, said.end - said.at, seen))
            return FAILED;
    }
    return FINE;
}

/* Whether a text is clean (*clean), and whether media may stand in it. -1 with an exception, for no text too. */
static int content_looked_at(PyObject *text, int *clean, int *media) {
    Py_ssize_t length;
    *clean = 1;
    if (text == Py_None)
        return 0;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    if (!bytes && !PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return -1;
    PyErr_Clear();
    *clean = bytes && is_clean((const uint8_t *)bytes, length);
    *media |= !bytes || length >= LONG_TEXT || may_hold_media((const uint8_t *)bytes, length);
    return 0;
}

/* look(input, output, attributes, tables, shortest): all looks at a span's content and values in one. */
PyObject *look(PyObject *module, PyObject *arguments) {
    PyObject *input, *output, *attributes, *tables;
    Py_ssize_t shortest;
    Anchors anchors;
    int given, answered, media = 0, became = FINE;
    uint64_t seen = 0;
    if (!PyArg_ParseTuple(arguments, "OOO!O!n", &input, &output, &PyDict_Type, &attributes, &PyTuple_Type, &tables,
                          &shortest) ||
        !anchors_of(tables, &anchors) || content_looked_at(input, &given, &media) ||
        content_looked_at(output, &answered, &media))
        return NULL;
    int clean = values_clean(attributes), none = media ? 0 : no_media_in(attributes, shortest);
    if (clean < 0 || none < 0)
        return NULL;
    if (input != Py_None)
        became = PyUnicode_IS_COMPACT_ASCII(input)
                     ? anchors_of_messages(&anchors, (const char *)PyUnicode_1BYTE_DATA(input),
                                           PyUnicode_GET_LENGTH(input), &seen)
                     : ODD;
    if (became == FAILED)
        return NULL;
    if (became == ODD || seen >> (63 - FLAG_BITS))
        seen = 0, became = ODD;
    return PyLong_FromUnsignedLongLong(seen << FLAG_BITS | (given ? CLEAN_INPUT : 0) | (answered ? CLEAN_OUTPUT : 0) |
                                       (clean ? CLEAN_VALUES : 0) | (none ? NO_MEDIA : 0) |
                                       (became == FINE ? PLAIN_INPUT : 0));
}

void looks_ready(void) { name_kinds(); }
