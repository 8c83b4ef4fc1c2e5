/* The plain way to measure transactions: one byte there and back, blocking write and read. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int one = 1, descriptor = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 0;

    if (argc == 3 && !strcmp(argv[1], "serve")) {
        address.sin_port = htons(atoi(argv[2]));
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(descriptor, (struct sockaddr *)&address, sizeof address) || listen(descriptor, 1))
            return fail("listen");
        descriptor = accept(descriptor, NULL, NULL);
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        while (read(descriptor, &byte, 1) == 1)
            if (write(descriptor, &byte, 1) != 1)
                return fail("write");
        return 0;
    }
    if (argc == 5 && !strcmp(argv[1], "run") && inet_pton(AF_INET, argv[2], &address.sin_addr) == 1) {
        double seconds = atof(argv[4]), begin, end;
        unsigned long count = 0;
        address.sin_port = htons(atoi(argv[3]));
        if (connect(descriptor, (struct sockaddr *)&address, sizeof address))
            return fail("connect");
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        begin = now();
        do {
            if (write(descriptor, &byte, 1) != 1 || read(descriptor, &byte, 1) != 1)
                return fail("transaction");
            count++;
            end = now();
        } while (end - begin < seconds);
        printf("{\"transactions\": %lu, \"elapsed_s\": %.9f}\n", count, end - begin);
        return 0;
    }
    fputs("usage: ping_pong serve PORT | run ADDRESS PORT SECONDS\n", stderr);
    return 2;
}
