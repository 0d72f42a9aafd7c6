/* Runs the whole probe, and prints its reply. */
#include <stdio.h>

int main(void) {
    fputs("this build of the probe is not whole\n", stderr);
    return 2;
}
