/* When datagrams arrived, by the kernel's own receive timestamps (SO_TIMESTAMPNS), whoever sent
 * and received them: they are seen beside the receiver, on a packet socket.
 * Writes nanoseconds of CLOCK_REALTIME as native 64-bit integers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { CAPACITY = 4 << 20, BUFFER = 64 << 20, BATCH = 64 };
static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* Whether these first bytes of a packet are IPv4 and UDP to `port` with `bytes` of payload. */
static int is_wanted(const unsigned char *packet, ssize_t length, unsigned port, unsigned bytes)
{
    const unsigned char *udp = packet + (packet[0] & 15) * 4;
    return length >= 48 && packet[0] >> 4 == 4 && packet[9] == 17 &&
           (unsigned)(udp[2] << 8 | udp[3]) == port && (unsigned)(udp[4] << 8 | udp[5]) == bytes + 8;
}

int main(int argc, char **argv)
{
    static uint64_t times[CAPACITY];
    static unsigned char packets[BATCH][64];
    static _Alignas(8) unsigned char controls[BATCH][128];
    static struct sockaddr_ll from[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    const struct timespec nap = {.tv_nsec = 2000000};
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    struct sigaction action = {.sa_handler = stop};
    int one = 1, size = BUFFER, descriptor, got = 0;
    unsigned port, bytes;
    size_t count = 0;

    if (argc != 4)
        return fputs("usage: timestamps INTERFACE PORT BYTES\n", stderr), 2;
    port = atoi(argv[2]), bytes = atoi(argv[3]);
    sigaction(SIGTERM, &action, NULL);
    memset(times, 0, sizeof times);
    descriptor = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    address.sll_ifindex = if_nametoindex(argv[1]);
    if (descriptor < 0 || !address.sll_ifindex)
        return fail("packet socket");
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) ||
        setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) ||
        bind(descriptor, (struct sockaddr *)&address, sizeof address))
        return fail("set up a packet socket");
    for (int part = 0; part < BATCH; part++) {
        parts[part] = (struct iovec){packets[part], sizeof packets[part]};
        messages[part].msg_hdr = (struct msghdr){.msg_name = &from[part], .msg_iov = &parts[part], .msg_iovlen = 1,
                                                 .msg_control = controls[part]};
    }
    /* It never blocks on the socket: whoever sends would have to wake it for every packet, and pay for it. */
    while (!stopped || got > 0) {
        for (int part = 0; part < BATCH; part++) {
            messages[part].msg_hdr.msg_namelen = sizeof from[part];
            messages[part].msg_hdr.msg_controllen = sizeof controls[part];
        }
        got = recvmmsg(descriptor, messages, BATCH, MSG_DONTWAIT, NULL);
        for (int part = 0; part < got && count < CAPACITY; part++) {
            struct cmsghdr *head = CMSG_FIRSTHDR(&messages[part].msg_hdr);
            if (head && head->cmsg_type == SO_TIMESTAMPNS && from[part].sll_pkttype == PACKET_HOST &&
                is_wanted(packets[part], messages[part].msg_len, port, bytes)) {
                struct timespec time;
                memcpy(&time, CMSG_DATA(head), sizeof time);
                times[count++] = time.tv_sec * 1000000000ull + time.tv_nsec;
            }
        }
        if (got < BATCH && !stopped)
            nanosleep(&nap, NULL);
    }
    return fwrite(times, sizeof *times, count, stdout) == count ? 0 : fail("write");
}
