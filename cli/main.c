/* clipgraph: one program, one subcommand for each thing that is done with a model. */
#include "cli/cli.h"

#include "graph/nearest.h"
#include "graph/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_command commands[] = {
    {"train", "train a model on pictures with captions or labels", cli_train},
    {"eval", "measure a model: retrieval, zero-shot accuracy", cli_eval},
    {"classify", "rank labels for pictures", cli_classify},
    {"search", "find the pictures of a folder that fit a text", cli_search},
    {"embed", "write embeddings of pictures or texts", cli_embed},
    {"export", "write a model as an ONNX file, with a certificate", cli_export},
    {"inspect", "show a model: sizes, parameters, cost, graph", cli_inspect},
    {"run", "run an ONNX file, or say what is in it", cli_run_onnx},
    {"check-grad", "check a model's gradients against finite differences", cli_check_grad},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(void) {
    printf("Usage: clipgraph COMMAND [OPTION...]\n"
           "\n"
           "Defines, trains, measures and uses CLIP models on CPUs. A CLIP model puts pictures\n"
           "and texts into one space, in which a picture lies near the texts that describe it;\n"
           "so it finds pictures by description and labels them without training on labels.\n"
           "\n"
           "Commands:\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-11s %s\n", commands[i].name, commands[i].summary);
    printf("\n"
           "`clipgraph COMMAND --help` explains a command; --version prints the version.\n"
           "\n"
           "Examples:\n"
           "  clipgraph train --dataset-type synthetic --model tiny-resnet-cbow --name first\n"
           "  clipgraph eval --checkpoint logs/first --dataset-type synthetic\n"
           "  clipgraph search --checkpoint logs/first photos/ \"a small red circle\"\n"
           "\n"
           "Exit codes: 0 done, 1 failed, 2 wrong usage.\n");
}

static int unknown(const char *name) {
    const char *known[COMMANDS + 1] = {0};
    for (int i = 0; i < COMMANDS; i++) known[i] = commands[i].name;
    const char *nearest = cg_nearest(name, known);
    const char *kind = name[0] == '-' ? "option" : "command";
    if (nearest && name[0] != '-')
        fprintf(stderr, "clipgraph: unknown command \"%s\"; did you mean \"%s\"?\n", name, nearest);
    else
        fprintf(stderr, "clipgraph: unknown %s \"%s\"\n", kind, name);
    fprintf(stderr, "Try `clipgraph --help`.\n");
    return 2;
}

/* The threads of a parallel region wait for one another spinning, by default so long that on a
 * processor shared with anything else (the loader's threads, another run) they burn the time the
 * late one needs: 2.5 times slower steps were seen. The runtime reads this variable before main,
 * so the program starts itself once more with it set; a user's own setting is left alone. */
static void limit_spinning(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || setenv("GOMP_SPINCOUNT", "20000", 1) != 0) return; /* it runs as it is */
    path[n] = '\0';
    execv(path, argv);
}

/* Results that did not arrive, on a full disk say, are a failure. */
static int check_output(const char *name) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    fprintf(stderr, "clipgraph %s: the output could not be written\n", name);
    return 1;
}

int main(int argc, char **argv) {
    limit_spinning(argv);
    argp_err_exit_status = 2;
    argp_program_version = "clipgraph " CLIPGRAPH_VERSION;
    if (argc < 2) {
        fprintf(stderr, "clipgraph: which command? Try `clipgraph --help`.\n");
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "-?") == 0 ||
        strcmp(name, "help") == 0) {
        print_help();
        return 0;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("%s\n", argp_program_version);
        return 0;
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) != 0) continue;
        char full[64];
        snprintf(full, sizeof full, "clipgraph %s", name);
        argv[1] = full; /* messages begin with both words */
        int code = commands[i].run(argc - 1, argv + 1);
        return code ? code : check_output(name);
    }
    return unknown(name);
}
