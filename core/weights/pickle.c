#include "weights/pickle.h"

#include "error.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_SIZE = 64 << 10,
    MEMORY_MAX = 256 << 20, ///< bytes for values
    STACK_MAX = 1 << 20,    ///< values, marks, remembered values
};

typedef mirl_pickle_value value;

typedef struct mirl_pickle_block {
    struct mirl_pickle_block *next;
    size_t used, size;
    _Alignas(16) char data[];
} block;

/** A growing array of pointers or, for marks, of stack heights. */
typedef struct stack {
    const value **items;
    size_t count, room;
} stack;

typedef struct machine {
    const uint8_t *at, *end;
    stack values, memo;
    size_t *marks; ///< heights of values
    size_t mark_count, mark_room;
    block *blocks;
    size_t memory;
    mirl_error *error;
    mirl_status status; ///< the first failure
} machine;

static const value none = {.kind = MIRL_PICKLE_NONE};
static const value truth[] = {{.kind = MIRL_PICKLE_BOOL, .integer = 0},
                              {.kind = MIRL_PICKLE_BOOL, .integer = 1}};

/* ---- Failing, memory, input -------------------------------------------------------------------------- */

/** Keeps the first failure and stops the machine. */
static void fail_with(machine *m, mirl_status status, const char *sentence) {
    if (!m->status)
        m->status = mirl_fail(m->error, status, "%s", sentence);
}

static void fail(machine *m, const char *sentence) {
    fail_with(m, MIRL_ERROR_FORMAT, sentence);
}

static void *allocate(machine *m, size_t bytes) {
    bytes = (bytes + 15) & ~(size_t)15;
    if (!m->blocks || m->blocks->size - m->blocks->used < bytes) {
        size_t size = bytes > BLOCK_SIZE ? bytes : BLOCK_SIZE;
        block *fresh = m->memory + size <= MEMORY_MAX ? malloc(sizeof *fresh + size) : NULL;
        if (!fresh) {
            fail_with(m, MIRL_ERROR_MEMORY, "its pickle needs too much memory");
            return NULL;
        }
        *fresh = (block){m->blocks, 0, size};
        m->blocks = fresh;
        m->memory += size;
    }
    void *data = m->blocks->data + m->blocks->used;
    m->blocks->used += bytes;
    return data;
}

static value *make(machine *m, mirl_pickle_kind kind) {
    value *made = allocate(m, sizeof *made);
    if (made)
        *made = (value){.kind = kind};
    return made;
}

static const char *copy_text(machine *m, const uint8_t *text, size_t length) {
    char *copy = allocate(m, length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

static const uint8_t *take(machine *m, size_t bytes) {
    const uint8_t *taken = m->at;
    if (m->status || (size_t)(m->end - m->at) < bytes) {
        fail(m, "its pickle ends too early");
        return NULL;
    }
    m->at += bytes;
    return taken;
}

/** A little-endian number of 1, 2 or 4 bytes; 0 after a failure. */
static uint32_t take_number(machine *m, int bytes) {
    const uint8_t *taken = take(m, (size_t)bytes);
    uint32_t number = 0;
    for (int i = 0; taken && i < bytes; i++)
        number |= (uint32_t)taken[i] << 8 * i;
    return number;
}

/** Bytes up to the next line feed, which is taken too. */
static const uint8_t *take_line(machine *m, size_t *length) {
    const uint8_t *feed = memchr(m->at, '\n', (size_t)(m->end - m->at));
    *length = feed ? (size_t)(feed - m->at) : (size_t)(m->end - m->at);
    return take(m, *length + 1);
}

/* ---- The stack --------------------------------------------------------------------------------------- */

static bool grow(machine *m, void **items, size_t *room, size_t needed, size_t item_size) {
    if (needed <= *room)
        return true;
    size_t wanted = needed < 64 ? 64 : needed * 2;
    void *grown = needed <= STACK_MAX ? realloc(*items, wanted * item_size) : NULL;
    if (!grown) {
        fail_with(m, MIRL_ERROR_MEMORY, "its pickle is nested too deeply or holds too many values");
        return false;
    }
    memset((char *)grown + *room * item_size, 0, (wanted - *room) * item_size);
    *items = grown;
    *room = wanted;
    return true;
}

static void push(machine *m, const value *pushed) {
    if (pushed && !m->status &&
        grow(m, (void **)&m->values.items, &m->values.room, m->values.count + 1, sizeof *m->values.items))
        m->values.items[m->values.count++] = pushed;
}

static void push_mark(machine *m) {
    if (grow(m, (void **)&m->marks, &m->mark_room, m->mark_count + 1, sizeof *m->marks))
        m->marks[m->mark_count++] = m->values.count;
}

/** Values above the last mark are within reach. */
static const value *pop(machine *m) {
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->status || m->values.count == floor) {
        fail(m, "its pickle takes a value that is not there");
        return NULL;
    }
    return m->values.items[--m->values.count];
}

/** Takes back the last mark; *first is where its values begin. */
static bool pop_mark(machine *m, size_t *first) {
    if (!m->mark_count) {
        fail(m, "its pickle takes a mark that is not there");
        return false;
    }
    *first = m->marks[--m->mark_count];
    return true;
}

static void append(machine *m, value *to, const value *key, const value *added) {
    mirl_pickle_item *item = allocate(m, sizeof *item);
    if (!item)
        return;
    *item = (mirl_pickle_item){key, added, NULL};
    if (to->last)
        to->last->next = item;
    else
        to->first = item;
    to->last = item;
    to->count++;
}

/** A tuple of the values from `first` to the top, which it takes. */
static void push_tuple(machine *m, size_t first) {
    value *tuple = make(m, MIRL_PICKLE_TUPLE);
    for (size_t i = first; tuple && i < m->values.count; i++)
        append(m, tuple, NULL, m->values.items[i]);
    m->values.count = first;
    push(m, tuple);
}

static void push_short_tuple(machine *m, size_t count) {
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->values.count - floor < count)
        fail(m, "its pickle takes a value that is not there");
    else
        push_tuple(m, m->values.count - count);
}

/** Puts the values from `first` to the top into the container below them: a list's or, in pairs, a
 * dictionary's. What is put into an opaque value is dropped. */
static void fill(machine *m, size_t first, mirl_pickle_kind kind) {
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    bool pairs = kind == MIRL_PICKLE_DICT;
    if (first <= floor || (pairs && (m->values.count - first) % 2)) {
        fail(m, "its pickle takes a value that is not there");
        return;
    }
    /* Values are constant to everyone but the machine that makes them. */
    value *to = (value *)(uintptr_t)m->values.items[first - 1];
    if (to->kind != kind && to->kind != MIRL_PICKLE_OPAQUE)
        fail(m, pairs ? "its pickle sets an entry of what is no dictionary"
                      : "its pickle appends to what is no list");
    for (size_t i = first; to->kind == kind && !m->status && i < m->values.count; i += pairs ? 2 : 1)
        append(m, to, pairs ? m->values.items[i] : NULL, m->values.items[pairs ? i + 1 : i]);
    m->values.count = first;
}

static void fill_one(machine *m, size_t count, mirl_pickle_kind kind) {
    if (m->values.count < count)
        fail(m, "its pickle takes a value that is not there");
    else
        fill(m, m->values.count - count, kind);
}

/* ---- Literals ---------------------------------------------------------------------------------------- */

static void push_integer(machine *m, int64_t integer) {
    value *made = make(m, MIRL_PICKLE_INTEGER);
    if (made)
        made->integer = integer;
    push(m, made);
}

static void push_named(machine *m, mirl_pickle_kind kind, const char *text) {
    value *made = text ? make(m, kind) : NULL;
    if (made)
        made->text = text;
    push(m, made);
}

static void push_long(machine *m, size_t bytes) {
    const uint8_t *digits = take(m, bytes);
    if (!digits)
        return;
    if (bytes > 8) {
        push_named(m, MIRL_PICKLE_OPAQUE, "integer beyond 64 bits");
        return;
    }
    uint64_t number = bytes && digits[bytes - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = bytes; i-- > 0;)
        number = number << 8 | digits[i];
    push_integer(m, (int64_t)number);
}

static void push_string(machine *m, size_t bytes) {
    const uint8_t *text = take(m, bytes);
    if (text)
        push_named(m, MIRL_PICKLE_STRING, copy_text(m, text, bytes));
}

/* ---- The memo ---------------------------------------------------------------------------------------- */

static void remember(machine *m, size_t index) {
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    if (m->values.count == floor)
        fail(m, "its pickle remembers a value that is not there");
    else if (grow(m, (void **)&m->memo.items, &m->memo.room, index + 1, sizeof *m->memo.items))
        m->memo.items[index] = m->values.items[m->values.count - 1];
}

static void recall(machine *m, size_t index) {
    if (index < m->memo.room && m->memo.items[index])
        push(m, m->memo.items[index]);
    else
        fail(m, "its pickle recalls a value that it never remembered");
}

/* ---- Classes and calls ------------------------------------------------------------------------------- */

/** Functions that start programs or code. None would run here; a file that names one is not a checkpoint. */
static bool is_hostile(const char *module, const char *name) {
    static const char *const modules[] = {"os",     "posix",  "nt",        "subprocess", "sys",
                                          "shutil", "socket", "importlib", "pty",        "runpy",
                                          "ctypes", "code",   "webbrowser"};
    static const char *const functions[] = {"eval",    "exec",    "execfile", "compile",    "open",
                                            "getattr", "setattr", "delattr",  "__import__", "input"};
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        size_t length = strlen(modules[i]);
        if (strncmp(module, modules[i], length) == 0 && (module[length] == 0 || module[length] == '.'))
            return true;
    }
    if (strcmp(module, "builtins") != 0 && strcmp(module, "__builtin__") != 0)
        return false;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcmp(name, functions[i]) == 0)
            return true;
    return false;
}

static void push_global(machine *m) {
    size_t module_length, name_length;
    const uint8_t *module = take_line(m, &module_length);
    const uint8_t *name = module ? take_line(m, &name_length) : NULL;
    if (!name)
        return;
    char *text = allocate(m, module_length + name_length + 2);
    if (!text)
        return;
    memcpy(text, module, module_length);
    text[module_length] = 0;
    memcpy(text + module_length + 1, name, name_length);
    text[module_length + 1 + name_length] = 0;
    bool hostile = is_hostile(text, text + module_length + 1);
    text[module_length] = '.';
    if (hostile && !m->status)
        m->status = mirl_fail(m->error, MIRL_ERROR_FORMAT,
                              "its pickle names '%.80s', which could run code; no checkpoint needs it", text);
    push_named(m, MIRL_PICKLE_GLOBAL, text);
}

/** What calling or instantiating `callee` gives, without doing it. */
static void push_result(machine *m, const value *callee, const value *arguments) {
    if (m->status)
        return;
    if (callee->kind != MIRL_PICKLE_GLOBAL && callee->kind != MIRL_PICKLE_OPAQUE) {
        fail(m, "its pickle calls what is no class or function");
    } else if (arguments->kind != MIRL_PICKLE_TUPLE) {
        fail(m, "its pickle calls with arguments that are no tuple");
    } else if (strcmp(callee->text, "collections.OrderedDict") == 0 && !arguments->count) {
        push(m, make(m, MIRL_PICKLE_DICT));
    } else if (strcmp(callee->text, "torch._utils._rebuild_parameter") == 0 && arguments->count) {
        push(m, arguments->first->value);
    } else if (strcmp(callee->text, "torch._utils._rebuild_tensor_v2") == 0) {
        value *tensor = make(m, MIRL_PICKLE_TENSOR);
        if (tensor) {
            tensor->first = arguments->first;
            tensor->count = arguments->count;
        }
        push(m, tensor);
    } else {
        push_named(m, MIRL_PICKLE_OPAQUE, callee->text);
    }
}

static void call(machine *m) {
    const value *arguments = pop(m), *callee = pop(m);
    push_result(m, callee, arguments);
}

static void push_storage(machine *m) {
    const value *id = pop(m);
    if (!id)
        return;
    if (id->kind != MIRL_PICKLE_TUPLE) {
        fail(m, "its pickle holds a persistent id that is no tuple");
        return;
    }
    value *storage = make(m, MIRL_PICKLE_STORAGE);
    if (storage) {
        storage->first = id->first;
        storage->count = id->count;
    }
    push(m, storage);
}

/* ---- Opcodes ----------------------------------------------------------------------------------------- */

static void refuse(machine *m, uint8_t opcode) {
    static const struct {
        uint8_t opcode;
        const char *name;
    } names[] = {{'I', "INT"},    {'L', "LONG"},   {'F', "FLOAT"},        {'S', "STRING"}, {'V', "UNICODE"},
                 {'P', "PERSID"}, {'g', "GET"},    {'p', "PUT"},          {'i', "INST"},   {'o', "OBJ"},
                 {'d', "DICT"},   {'l', "LIST"},   {'2', "DUP"},          {0x82, "EXT1"},  {0x83, "EXT2"},
                 {0x84, "EXT4"},  {0x95, "FRAME"}, {0x93, "STACK_GLOBAL"}};
    const char *name = "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].opcode == opcode)
            name = names[i].name;
    if (!m->status)
        m->status =
            mirl_fail(m->error, MIRL_ERROR_FORMAT,
                      "its pickle holds the opcode 0x%02x %s, which PyTorch does not write", opcode, name);
}

/** Returns false for an opcode of another group; likewise below. */
static bool run_literal(machine *m, uint8_t opcode) {
    switch (opcode) {
    case 'N': /* NONE */
        push(m, &none);
        return true;
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        push(m, &truth[opcode == 0x88]);
        return true;
    case 'J': /* BININT */
        push_integer(m, (int32_t)take_number(m, 4));
        return true;
    case 'K': /* BININT1 */
        push_integer(m, take_number(m, 1));
        return true;
    case 'M': /* BININT2 */
        push_integer(m, take_number(m, 2));
        return true;
    case 0x8a: /* LONG1 */
        push_long(m, take_number(m, 1));
        return true;
    case 0x8b: /* LONG4 */
        push_long(m, take_number(m, 4));
        return true;
    case 'G': /* BINFLOAT: no number of the format's is one */
        if (take(m, 8))
            push(m, make(m, MIRL_PICKLE_REAL));
        return true;
    case 'U': /* SHORT_BINSTRING */
        push_string(m, take_number(m, 1));
        return true;
    case 'T': /* BINSTRING */
    case 'X': /* BINUNICODE */
        push_string(m, take_number(m, 4));
        return true;
    default:
        return false;
    }
}

static bool run_container(machine *m, uint8_t opcode) {
    size_t first;
    switch (opcode) {
    case '}': /* EMPTY_DICT */
        push(m, make(m, MIRL_PICKLE_DICT));
        return true;
    case ']': /* EMPTY_LIST */
        push(m, make(m, MIRL_PICKLE_LIST));
        return true;
    case ')': /* EMPTY_TUPLE */
        push(m, make(m, MIRL_PICKLE_TUPLE));
        return true;
    case 't': /* TUPLE */
        if (pop_mark(m, &first))
            push_tuple(m, first);
        return true;
    case 0x85: /* TUPLE1 */
    case 0x86: /* TUPLE2 */
    case 0x87: /* TUPLE3 */
        push_short_tuple(m, (size_t)opcode - 0x84);
        return true;
    case 'a': /* APPEND */
        fill_one(m, 1, MIRL_PICKLE_LIST);
        return true;
    case 's': /* SETITEM */
        fill_one(m, 2, MIRL_PICKLE_DICT);
        return true;
    case 'e': /* APPENDS */
    case 'u': /* SETITEMS */
        if (pop_mark(m, &first))
            fill(m, first, opcode == 'e' ? MIRL_PICKLE_LIST : MIRL_PICKLE_DICT);
        return true;
    default:
        return false;
    }
}

static bool run_stack(machine *m, uint8_t opcode) {
    size_t first;
    switch (opcode) {
    case '(': /* MARK */
        push_mark(m);
        return true;
    case '0': /* POP */
        pop(m);
        return true;
    case '1': /* POP_MARK */
        if (pop_mark(m, &first))
            m->values.count = first;
        return true;
    case 'q': /* BINPUT */
        remember(m, take_number(m, 1));
        return true;
    case 'r': /* LONG_BINPUT */
        remember(m, take_number(m, 4));
        return true;
    case 'h': /* BINGET */
        recall(m, take_number(m, 1));
        return true;
    case 'j': /* LONG_BINGET */
        recall(m, take_number(m, 4));
        return true;
    default:
        return false;
    }
}

static bool run_class(machine *m, uint8_t opcode) {
    switch (opcode) {
    case 'c': /* GLOBAL */
        push_global(m);
        return true;
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        call(m);
        return true;
    case 'b': /* BUILD: attributes that nothing here needs */
        pop(m);
        return true;
    case 'Q': /* BINPERSID */
        push_storage(m);
        return true;
    default:
        return false;
    }
}

static const value *run(machine *m) {
    const uint8_t *start = take(m, 2);
    if (!start)
        return NULL;
    if (start[0] != 0x80 || start[1] != 2) {
        fail(m, "its pickle does not begin as one of protocol 2 does");
        return NULL;
    }
    while (!m->status) {
        const uint8_t *opcode = take(m, 1);
        if (!opcode)
            break;
        if (*opcode == '.') /* STOP */
            return pop(m);
        if (!run_literal(m, *opcode) && !run_container(m, *opcode) && !run_stack(m, *opcode) &&
            !run_class(m, *opcode))
            refuse(m, *opcode);
    }
    return NULL;
}

mirl_status mirl_pickle_read(const uint8_t *bytes, size_t size, mirl_pickle *pickle, mirl_error *error) {
    *pickle = (mirl_pickle){0};
    if (size > MIRL_PICKLE_MAX)
        return mirl_fail(error, MIRL_ERROR_FORMAT, "its pickle has %zu bytes, at most %d are read", size,
                         MIRL_PICKLE_MAX);
    machine m = {.at = bytes, .end = bytes + size, .error = error};
    pickle->root = run(&m);
    pickle->blocks = m.blocks;
    free(m.values.items);
    free(m.memo.items);
    free(m.marks);
    if (m.status)
        mirl_pickle_free(pickle);
    return m.status;
}

void mirl_pickle_free(mirl_pickle *pickle) {
    for (block *next, *at = pickle->blocks; at; at = next) {
        next = at->next;
        free(at);
    }
    *pickle = (mirl_pickle){0};
}

/* ---- Looking at values ------------------------------------------------------------------------------- */

const value *mirl_pickle_at(const value *sequence, size_t index) {
    const mirl_pickle_item *item = sequence->first;
    for (size_t i = 0; i < sequence->count && item; i++, item = item->next)
        if (i == index)
            return item->value;
    return NULL;
}

const value *mirl_pickle_get(const value *dictionary, const char *key) {
    const value *found = NULL;
    for (const mirl_pickle_item *item = dictionary->first; item; item = item->next)
        if (item->key && item->key->kind == MIRL_PICKLE_STRING && strcmp(item->key->text, key) == 0)
            found = item->value;
    return found;
}

const char *mirl_pickle_describe(const value *described, char *text, size_t size) {
    static const char *const kinds[] = {
        [MIRL_PICKLE_NONE] = "None",          [MIRL_PICKLE_BOOL] = "a bool",
        [MIRL_PICKLE_INTEGER] = "an integer", [MIRL_PICKLE_REAL] = "a float",
        [MIRL_PICKLE_STRING] = "a string",    [MIRL_PICKLE_TUPLE] = "a tuple",
        [MIRL_PICKLE_LIST] = "a list",        [MIRL_PICKLE_DICT] = "a dictionary",
        [MIRL_PICKLE_GLOBAL] = "the class",   [MIRL_PICKLE_STORAGE] = "a storage",
        [MIRL_PICKLE_TENSOR] = "a tensor",    [MIRL_PICKLE_OPAQUE] = "a",
    };
    if (!described)
        return "missing";
    if (described->kind != MIRL_PICKLE_GLOBAL && described->kind != MIRL_PICKLE_OPAQUE)
        return kinds[described->kind];
    snprintf(text, size, "%s '%s'", kinds[described->kind], described->text);
    return text;
}
