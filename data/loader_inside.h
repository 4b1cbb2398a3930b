/* The inside of a loader. A pair goes through two stages, each done by any worker:
 *
 *   decode     ahead of need, in the order of the epoch's plan, up to n_window pairs
 *   transform  once the pair has a place in a batch, straight into that place
 *
 * Between them stands the assembly: under the lock, strictly in order, it gives each pair that
 * was read its place and leaves out the others. It sees nothing but the order and which pairs
 * can be read, so batches do not depend on the number of threads or on who was first. */
#ifndef CG_DATA_LOADER_INSIDE_H
#define CG_DATA_LOADER_INSIDE_H

#include "data/epoch_plan.h"
#include "data/loader.h"

#include <pthread.h>

typedef enum cg_decode_state {
    CG_DECODE_NONE,
    CG_DECODE_BUSY,
    CG_DECODE_READ,
    CG_DECODE_FAILED
} cg_decode_state;

/* A pair between being taken from the plan and being assembled. */
typedef struct cg_decoded {
    cg_decode_state state;
    int64_t index;
    cg_image image; /* empty where pictures are not wanted or are not kept */
    cg_status status;
    char message[256];
} cg_decoded;

/* The memory of one batch. */
typedef struct cg_batch_buffer {
    float *image;       /* [batch, size, size, 3] */
    cg_image *decoded;  /* [batch] until transformed */
    int32_t *token;     /* [batch, context_length], of which n_token[i] are used */
    int32_t *packed;    /* the same without gaps */
    int32_t *offset;    /* [batch + 1] */
    int *n_token, *cut; /* [batch] */
    int64_t *sample, *index;
} cg_batch_buffer;

/* A batch on its way to the consumer, or (end) the end of an epoch. */
typedef struct cg_entry {
    cg_batch_buffer *buffer; /* NULL: nothing to hand out */
    int64_t n, done;         /* pairs placed; of these transformed */
    int64_t epoch, number;
    int closed;              /* no more pairs come */
    int end;                 /* the epoch ends here; what pairs it has are dropped */
    cg_loader_report report; /* what was left out while it was assembled */
} cg_entry;

typedef struct cg_job {
    cg_entry *entry;
    int64_t place;
} cg_job;

enum { CG_PAIR_BAD = 1, CG_PAIR_CUT = 2 }; /* what is known of a pair */

struct cg_loader {
    const cg_dataset *d;
    cg_loader_options o;
    cg_augment augment;
    pthread_mutex_t lock; /* of everything below but the consumer's part */
    pthread_cond_t work, ready;
    pthread_t *threads;
    int n_threads, stop;
    cg_status error; /* what ended the loader, and its message */
    char message[1024];

    cg_epoch_plan plan;
    int64_t epoch;
    int64_t next;      /* the plan's first pair not yet taken by a worker */
    int64_t assembled; /* its first pair not yet assembled */
    int64_t failed;    /* pairs left out in this epoch */
    cg_decoded *window;
    int64_t n_window;

    cg_entry *ring; /* [n_ring], `count` of them in use from `head` on */
    int n_ring, head, count;
    cg_entry *open;    /* being filled; NULL: none */
    cg_entry skipped;  /* stands in for the batches before the one to start with */
    int64_t start;     /* batches of this epoch to skip */
    int64_t formed;    /* batches of this epoch begun and filled, skipped ones too */
    int64_t serial;    /* number of the open batch over all epochs, from 1 */
    int64_t *in_batch; /* [n_captions] serial of the last batch that has the caption */
    int64_t *deferred; /* [n_deferred] pairs whose caption stood in the batch already */
    int64_t n_deferred;
    uint8_t *known; /* [size] CG_PAIR_ */

    cg_batch_buffer *buffers, **spare;
    int n_buffers, n_spare;
    cg_job *jobs; /* [n_jobs] a ring of what is to be transformed */
    int64_t n_jobs, first_job, pending_jobs;
    cg_image *cache; /* [size]; NULL: no cache */
    int64_t cache_left;

    /* the consumer's */
    int borrowed;
    cg_batch batch;
    cg_loader_report report;
};

/* Moves on as far as what was read and the memory free allow. Called under the lock. */
void cg_loader_assemble(cg_loader *l);

/* Begins an epoch. Called under the lock. */
void cg_loader_begin_epoch(cg_loader *l, int64_t epoch, int64_t start);

/* How many pairs of the plan are wanted, as far as is known. Called under the lock. */
int64_t cg_loader_limit(const cg_loader *l);

/* Ends the loader with the calling thread's message. Called under the lock. */
void cg_loader_fail(cg_loader *l, cg_status status);

/* Frees a decoded picture, unless it is the cache's. Called under the lock. */
void cg_loader_drop_image(cg_loader *l, int64_t index, cg_image *image);

void *cg_loader_work(void *loader);

#endif
