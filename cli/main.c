#include <stdio.h>
int main(void) { puts("clipgraph"); return 0; }
