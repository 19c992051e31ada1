// SPDX-License-Identifier: MIT
/*
 * Whatever is routed into a TUN device comes out of it again, so many milliseconds later and in order:
 * delay DEVICE MS. Where this kernel has no netem. What does not fit the queue is lost.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PACKETS 16384	/* a power of two */
#define ROOM 2048

static struct { long due_us; int length; unsigned char bytes[ROOM]; } queue[PACKETS];

static long now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000l + t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	long delay_us = argc > 2 ? atol(argv[2]) * 1000 : 0;
	unsigned int head = 0, tail = 0;
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc < 3 || tun < 0)
		return 1;
	strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
	if (ioctl(tun, TUNSETIFF, &request))
		return 1;
	puts("ready");
	fflush(stdout);
	for (;;) {
		long now = now_us(), wait_us = head == tail ? 1000000 : queue[tail % PACKETS].due_us - now;
		struct timespec timeout = { 0, wait_us > 0 ? wait_us % 1000000 * 1000 : 0 };
		struct pollfd ready = { .fd = tun, .events = POLLIN };

		ppoll(&ready, 1, &timeout, NULL);
		while (head - tail < PACKETS) {
			int length = read(tun, queue[head % PACKETS].bytes, ROOM);

			if (length <= 0)
				break;
			queue[head % PACKETS].length = length;
			queue[head++ % PACKETS].due_us = now_us() + delay_us;
		}
		now = now_us();
		for (; tail != head && queue[tail % PACKETS].due_us <= now; tail++)
			if (write(tun, queue[tail % PACKETS].bytes, queue[tail % PACKETS].length) < 0)
				continue;
	}
}
