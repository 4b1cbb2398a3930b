/* Status codes and error messages: the one thing every folder shares.
 *
 * A function that can fail returns a cg_status. Before it returns anything but CG_OK it
 * has left a sentence in the calling thread's message, which names the op, file or
 * tensor, what was found and what was wanted:
 *
 *     if (rank < 1) return cg_error(CG_ESHAPE, "x is a scalar, wanted rank 1 or more");
 *
 * The library never prints, exits or aborts; only cli/ does. */
#ifndef CG_STATUS_H
#define CG_STATUS_H

/* Public headers put their declarations between these two: C linkage also where C++ includes them,
 * and symbols that the shared library exports. All else in it is hidden. */
#ifdef __cplusplus
#define CG_API_BEGIN                                                                               \
    extern "C" {                                                                                   \
    _Pragma("GCC visibility push(default)")
#define CG_API_END                                                                                 \
    _Pragma("GCC visibility pop")                                                                  \
    }
#else
#define CG_API_BEGIN _Pragma("GCC visibility push(default)")
#define CG_API_END   _Pragma("GCC visibility pop")
#endif

CG_API_BEGIN

#define CG_STATUS_LIST(X)                                                                          \
    X(OK, "success")                                                                               \
    X(EINVAL, "invalid argument")                                                                  \
    X(ESHAPE, "shape mismatch")                                                                    \
    X(EDTYPE, "wrong element type")                                                                \
    X(ENOMEM, "out of memory")                                                                     \
    X(EIO, "input/output error")                                                                   \
    X(EFORMAT, "malformed file")                                                                   \
    X(ENOTFOUND, "not found")                                                                      \
    X(EUNSUPPORTED, "not supported")                                                               \
    X(ENONFINITE, "value is not finite")                                                           \
    X(EKERNEL, "kernel failed")                                                                    \
    X(EINTERRUPTED, "interrupted")

typedef enum cg_status {
#define X(name, text) CG_##name,
    CG_STATUS_LIST(X)
#undef X
} cg_status;

/* Replaces the calling thread's message (printf format; cut at 1 KiB); the value is `code`. */
#define cg_error(code, ...) (cg_error_set(__VA_ARGS__), cg_status_same(code))

/* Puts a prefix and ": " in front of the message, to say where it happened; the value is `code`. */
#define cg_error_in(code, ...) (cg_error_prefix(__VA_ARGS__), cg_status_same(code))

/* What the macros are made of, so that compilers and checkers see which code is returned. */
void cg_error_set(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cg_error_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline cg_status cg_status_same(cg_status code) {
    return code;
}

/* The calling thread's last message; "" if none. Valid until its next error. */
const char *cg_error_message(void);

/* "ESHAPE" and "shape mismatch". */
const char *cg_status_name(cg_status code);
const char *cg_status_text(cg_status code);

/* Returns from the enclosing function where `call` fails. */
#define CG_TRY(call)                                                                               \
    do {                                                                                           \
        cg_status cg_try_status = (call);                                                          \
        if (cg_try_status != CG_OK) return cg_try_status;                                          \
    } while (0)

CG_API_END

#endif
