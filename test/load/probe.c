// SPDX-License-Identifier: MIT
/*
 * When do packets of a live TCP connection pass, and when do they not? Asks the far end of an idle
 * connection every millisecond, by what a keep-alive looks like: the last octet once more, which the far
 * end acknowledges at once whatever else it does (RFC 9293 section 3.10.7.4). The way there and back
 * is that of all other connections; there is no timer that backs off.
 *
 *   probe FROM-ADDRESS TO-ADDRESS TO-PORT          IPv4; FROM is an address that nothing else uses
 *
 * Opens a connection to a server of flows.c, as an idle flow, and reads its numbers by TCP_REPAIR. Says
 * {"ready":true}, and answers commands on standard input by a line of JSON, in ms of CLOCK_MONOTONIC:
 *
 *   mark      {"marked":AT}
 *   report    {"gap_ms","from","to","last","sent","answered","reset"}: the longest time since the mark
 *             without an answer, one that lasts still included (then `to` is now); when the last answer
 *             came; whether an RST has come
 *   stop      the process ends; so it does when its standard input ends
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVERY_NS 1000000
#define TIMESTAMPS 12

static const char request[] = "GET /probe/idle/1/0/0 HTTP/1.1\r\nHost: flows\r\n\r\n";

static struct sockaddr_in here, there;
static int connection, raw;
static uint32_t next_send, next_receive, clock_base, echo;
static int64_t clock_at;
static bool timestamps;

static struct {
	int64_t mark, last, gap, from, to;
	uint64_t sent, answered;
	bool reset;
} seen;

struct segment {
	struct tcphdr tcp;
	uint8_t options[TIMESTAMPS];
	uint8_t octet;
} __attribute__((packed));

static __attribute__((noreturn)) void fail(const char *what)
{
	fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void open_connection(void)
{
	struct timeval patience = { .tv_sec = 20 };
	socklen_t size = sizeof(here);
	char answer[512];

	connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0 || bind(connection, (void *)&here, sizeof(here)) < 0)
		fail("bind");
	setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(connection, (void *)&there, sizeof(there)) < 0)
		fail("connect");
	if (getsockname(connection, (void *)&here, &size) < 0)
		fail("getsockname");
	if (send(connection, request, sizeof(request) - 1, 0) != sizeof(request) - 1)
		fail("the request");
	if (recv(connection, answer, sizeof(answer), 0) <= 0)
		fail("the answer");
	if (strncmp(answer, "HTTP/1.1 200", 12)) {
		fprintf(stderr, "probe: the answer is not 200\n");
		exit(1);
	}
}

static uint32_t queue_number(int queue)
{
	uint32_t number;
	socklen_t size = sizeof(number);

	if (setsockopt(connection, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) < 0 ||
	    getsockopt(connection, IPPROTO_TCP, TCP_QUEUE_SEQ, &number, &size) < 0)
		fail("TCP_QUEUE_SEQ");
	return number;
}

static void read_numbers(void)
{
	int on = TCP_REPAIR_ON, off = TCP_REPAIR_OFF_NO_WP;
	struct tcp_info info;
	socklen_t size = sizeof(clock_base);

	if (setsockopt(connection, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
		fail("TCP_REPAIR");
	next_send = queue_number(TCP_SEND_QUEUE);
	next_receive = queue_number(TCP_RECV_QUEUE);
	if (getsockopt(connection, IPPROTO_TCP, TCP_TIMESTAMP, &clock_base, &size) < 0)
		fail("TCP_TIMESTAMP");
	clock_at = now_ns();
	if (setsockopt(connection, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) < 0)
		fail("the end of TCP_REPAIR");
	size = sizeof(info);
	if (getsockopt(connection, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		fail("TCP_INFO");
	timestamps = info.tcpi_options & TCPI_OPT_TIMESTAMPS;
}

static uint32_t sum(uint32_t total, const void *data, size_t n)
{
	const uint8_t *byte = data;
	size_t i;

	for (i = 0; i < n; i++)
		total += i % 2 ? byte[i] : byte[i] << 8;
	return total;
}

static uint16_t checksum(const struct segment *segment, size_t n)
{
	uint32_t total = IPPROTO_TCP + n;

	total = sum(total, &here.sin_addr, 4);
	total = sum(total, &there.sin_addr, 4);
	total = sum(total, segment, n);
	while (total > 0xffff)
		total = (total & 0xffff) + (total >> 16);
	return htons(~total);
}

static void ask(void)
{
	struct segment segment = { 0 };
	size_t n = sizeof(segment);
	uint32_t clock = htonl(clock_base + (now_ns() - clock_at) / 1000000);

	segment.tcp.source = here.sin_port;
	segment.tcp.dest = there.sin_port;
	segment.tcp.seq = htonl(next_send - 1);
	segment.tcp.ack_seq = htonl(next_receive);
	segment.tcp.doff = (sizeof(segment.tcp) + TIMESTAMPS) / 4;
	segment.tcp.ack = 1;
	segment.tcp.window = htons(1024);
	memset(segment.options, 1, TIMESTAMPS);	/* no operation */
	if (timestamps) {
		segment.options[2] = 8;
		segment.options[3] = 10;
		memcpy(segment.options + 4, &clock, 4);
		memcpy(segment.options + 8, &echo, 4);
	}
	segment.octet = request[sizeof(request) - 2];
	segment.tcp.check = checksum(&segment, n);
	/* What the network does not take is lost as on the way: that is what is looked for. */
	send(raw, &segment, n, MSG_DONTWAIT);
	seen.sent++;
}

/* Remembers the far end's clock for the echo. */
static void note_clock(const struct tcphdr *tcp, const uint8_t *end)
{
	const uint8_t *at = (const uint8_t *)(tcp + 1);

	while (at + 1 < end && *at != 0) {
		if (*at == 8 && at + 10 <= end) {
			memcpy(&echo, at + 2, 4);
			return;
		}
		at += *at == 1 ? 1 : at[1] > 1 ? at[1] : end - at;
	}
}

static void hear(void)
{
	uint8_t packet[256];
	ssize_t n = recv(raw, packet, sizeof(packet), MSG_DONTWAIT);
	const struct iphdr *ip = (void *)packet;
	const struct tcphdr *tcp = (void *)(packet + 4 * ip->ihl);
	int64_t now = now_ns();

	if (n < (ssize_t)(4 * ip->ihl + sizeof(*tcp)) || tcp->source != there.sin_port ||
	    tcp->dest != here.sin_port)
		return;
	if (tcp->rst) {
		seen.reset = true;
		return;
	}
	if (!tcp->ack || tcp->syn)
		return;
	note_clock(tcp, packet + n);
	seen.answered++;
	if (now - seen.last > seen.gap) {
		seen.gap = now - seen.last;
		seen.from = seen.last;
		seen.to = now;
	}
	seen.last = now;
}

static void tell(void)
{
	int64_t now = now_ns(), gap = seen.gap, from = seen.from, to = seen.to;

	if (now - seen.last > gap) {
		gap = now - seen.last;
		from = seen.last;
		to = now;
	}
	printf("{\"gap_ms\":%.3f,\"from\":%.3f,\"to\":%.3f,\"last\":%.3f,\"sent\":%llu,\"answered\":%llu,"
	       "\"reset\":%s}\n",
	       gap / 1e6, from / 1e6, to / 1e6, seen.last / 1e6, (unsigned long long)seen.sent,
	       (unsigned long long)seen.answered, seen.reset ? "true" : "false");
}

static void obey(void)
{
	char line[64];

	if (!fgets(line, sizeof(line), stdin) || !strcmp(line, "stop\n"))
		exit(0);
	if (!strcmp(line, "report\n")) {
		tell();
	} else if (!strcmp(line, "mark\n")) {
		seen.gap = 0;
		seen.sent = seen.answered = 0;
		seen.mark = now_ns();
		printf("{\"marked\":%.3f}\n", seen.mark / 1e6);
	} else {
		fprintf(stderr, "probe: unknown command\n");
		exit(2);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct itimerspec every = { { 0, EVERY_NS }, { 0, EVERY_NS } };
	struct pollfd polled[3] = { { .events = POLLIN }, { .events = POLLIN }, { .events = POLLIN } };
	uint64_t expirations;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &here.sin_addr) != 1 ||
	    inet_pton(AF_INET, argv[2], &there.sin_addr) != 1) {
		fprintf(stderr, "usage: probe FROM-ADDRESS TO-ADDRESS TO-PORT\n");
		return 2;
	}
	here.sin_family = there.sin_family = AF_INET;
	there.sin_port = htons(atoi(argv[3]));
	open_connection();
	read_numbers();
	raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
	if (raw < 0 || bind(raw, (void *)&here, sizeof(here)) < 0 ||
	    connect(raw, (void *)&there, sizeof(there)) < 0)
		fail("raw socket");
	polled[0].fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	polled[1].fd = raw;
	polled[2].fd = STDIN_FILENO;
	if (polled[0].fd < 0 || timerfd_settime(polled[0].fd, 0, &every, NULL) < 0)
		fail("timer");
	setvbuf(stdin, NULL, _IONBF, 0);
	seen.last = seen.mark = now_ns();
	printf("{\"ready\":true}\n");
	fflush(stdout);
	for (;;) {
		if (poll(polled, 3, -1) < 0)
			fail("poll");
		if (polled[1].revents)
			hear();
		if (polled[0].revents && read(polled[0].fd, &expirations, sizeof(expirations)) > 0)
			ask();
		if (polled[2].revents)
			obey();
	}
}
