/* What each `stress -c` worker does, `while (1) sqrt(rand());`, counted and bounded:
   `SECONDS` in time, `SECONDS OPERATIONS` in both. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1, begin = now(), end;
    unsigned long count = 0, most = argc > 2 ? strtoul(argv[2], NULL, 10) : -1UL;
    volatile double result;

    do {
        for (int i = 0; i < 100000; i++)
            result = sqrt(rand());
        count += 100000;
        end = now();
    } while (end - begin < seconds && count < most);
    (void)result;
    printf("{\"operations\": %lu, \"elapsed_s\": %.9f}\n", count, end - begin);
    return 0;
}
