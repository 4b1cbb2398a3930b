#include "graph/version.h"

const char *cg_version(void) {
    return CLIPGRAPH_VERSION;
}
