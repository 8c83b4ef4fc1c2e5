/* The plain way to send and to receive datagrams: one system call each. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int usage(void)
{
    fputs("usage: datagrams send ADDRESS PORT BYTES SECONDS | receive PORT\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static char buffer[65536];
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct sigaction action = {.sa_handler = stop};
    unsigned long count = 0;
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0);

    sigaction(SIGTERM, &action, NULL);
    if (argc == 6 && !strcmp(argv[1], "send")) {
        size_t bytes = strtoul(argv[4], NULL, 10);
        double end = now() + atof(argv[5]);
        if (inet_pton(AF_INET, argv[2], &address.sin_addr) != 1 || bytes > sizeof buffer)
            return usage();
        address.sin_port = htons(atoi(argv[3]));
        while (!stopped && now() < end)
            for (int i = 0; i < 256; i++)
                count += sendto(descriptor, buffer, bytes, 0, (struct sockaddr *)&address,
                                sizeof address) == (ssize_t)bytes;
    } else if (argc == 3 && !strcmp(argv[1], "receive")) {
        address.sin_port = htons(atoi(argv[2]));
        if (bind(descriptor, (struct sockaddr *)&address, sizeof address)) {
            perror("bind");
            return 1;
        }
        while (!stopped)
            count += recv(descriptor, buffer, sizeof buffer, 0) >= 0;
    } else {
        return usage();
    }
    printf("{\"datagrams\": %lu}\n", count);
    return 0;
}
