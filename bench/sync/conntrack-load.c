// SPDX-License-Identifier: MIT
/*
 * Puts entries into the conntrack table of its network namespace over ctnetlink, as fast as the kernel
 * takes them, so that conntrackd has something to replicate. Compiled by the bench.
 *
 * Reads one command a line and answers with lines of nanoseconds (CLOCK_MONOTONIC):
 *
 *   insert FIRST COUNT       established TCP connections; answers with the time before the first
 *   update FIRST COUNT USEC  change one after the other, with a pause between; the time before each
 *   flush                    delete all; answers with the time before
 */
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 128		/* messages in one system call */
#define MESSAGE_MAX 256
#define TIMEOUT_S 432000
#define CLIENTS 0x0a080000u	/* 10.8.0.0/16 */
#define VIRTUAL 0x0a090064u	/* 10.9.0.100 */
#define SERVERS 0x0a070000u	/* 10.7.0.0/16 */
#define PROXY 0x0a070064u
#define PORT_FIRST 1024
#define PORTS 60000

static char buffer[BATCH * MESSAGE_MAX];
static int netlink;

static void fail(const char *what)
{
	fprintf(stderr, "conntrack-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void put(struct nlmsghdr *message, int type, const void *data, int size)
{
	struct nlattr *attribute = (void *)message + NLMSG_ALIGN(message->nlmsg_len);

	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + size;
	memcpy((void *)attribute + NLA_HDRLEN, data, size);
	message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

static struct nlattr *open_nest(struct nlmsghdr *message, int type)
{
	struct nlattr *attribute = (void *)message + NLMSG_ALIGN(message->nlmsg_len);

	put(message, type | NLA_F_NESTED, NULL, 0);
	return attribute;
}

static void close_nest(struct nlmsghdr *message, struct nlattr *attribute)
{
	attribute->nla_len = (void *)message + message->nlmsg_len - (void *)attribute;
}

static void put_u32(struct nlmsghdr *message, int type, unsigned value)
{
	unsigned network = htonl(value);

	put(message, type, &network, sizeof(network));
}

static void put_tuple(struct nlmsghdr *message, int type, unsigned source, unsigned destination,
		      unsigned short sport, unsigned short dport)
{
	struct nlattr *tuple = open_nest(message, type), *part = open_nest(message, CTA_TUPLE_IP);
	unsigned short from = htons(sport), to = htons(dport);
	unsigned char protocol = IPPROTO_TCP;

	put_u32(message, CTA_IP_V4_SRC, source);
	put_u32(message, CTA_IP_V4_DST, destination);
	close_nest(message, part);
	part = open_nest(message, CTA_TUPLE_PROTO);
	put(message, CTA_PROTO_NUM, &protocol, sizeof(protocol));
	put(message, CTA_PROTO_SRC_PORT, &from, sizeof(from));
	put(message, CTA_PROTO_DST_PORT, &to, sizeof(to));
	close_nest(message, part);
	close_nest(message, tuple);
}

static void put_state(struct nlmsghdr *message)
{
	struct nlattr *info = open_nest(message, CTA_PROTOINFO);
	struct nlattr *tcp = open_nest(message, CTA_PROTOINFO_TCP);
	unsigned char state = TCP_CONNTRACK_ESTABLISHED;
	struct nf_ct_tcp_flags flags = {
		.flags = IP_CT_TCP_FLAG_WINDOW_SCALE | IP_CT_TCP_FLAG_SACK_PERM,
		.mask = IP_CT_TCP_FLAG_WINDOW_SCALE | IP_CT_TCP_FLAG_SACK_PERM,
	};

	put(message, CTA_PROTOINFO_TCP_STATE, &state, sizeof(state));
	put(message, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &flags, sizeof(flags));
	put(message, CTA_PROTOINFO_TCP_FLAGS_REPLY, &flags, sizeof(flags));
	close_nest(message, tcp);
	close_nest(message, info);
}

static struct nlmsghdr *begin(int at, int type, int flags)
{
	struct nlmsghdr *message = (void *)buffer + at;
	struct nfgenmsg *family = NLMSG_DATA(message);

	memset(message, 0, MESSAGE_MAX);
	message->nlmsg_len = NLMSG_LENGTH(sizeof(*family));
	message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	family->nfgen_family = AF_INET;
	family->version = NFNETLINK_V0;
	return message;
}

/* @mark: of the entry; what an update changes */
static int write_entry(int at, int number, int flags, unsigned mark)
{
	struct nlmsghdr *message = begin(at, IPCTNL_MSG_CT_NEW, flags);
	unsigned client = CLIENTS + number / PORTS, server = SERVERS + 2 + number % 3;
	unsigned short port = PORT_FIRST + number % PORTS;

	put_tuple(message, CTA_TUPLE_ORIG, client, VIRTUAL, port, 80);
	put_tuple(message, CTA_TUPLE_REPLY, server, PROXY + number / PORTS, 80, port);
	if (flags & NLM_F_CREATE) {
		put_u32(message, CTA_STATUS, IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED);
		put_u32(message, CTA_TIMEOUT, TIMEOUT_S);
		put_state(message);
	}
	put_u32(message, CTA_MARK, mark);
	return NLMSG_ALIGN(message->nlmsg_len);
}

/* Sends what is in the buffer, whose last message asks for an acknowledgement, and waits for that. */
static void transact(int size)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlmsghdr answer[64];
	struct nlmsgerr *error = NLMSG_DATA(&answer[0]);

	if (sendto(netlink, buffer, size, 0, (void *)&kernel, sizeof(kernel)) != size)
		fail("send");
	if (recv(netlink, answer, sizeof(answer), 0) < 0)
		fail("receive");
	errno = answer[0].nlmsg_type == NLMSG_ERROR ? -error->error : EPROTO;
	if (errno)
		fail("the kernel has refused an entry");
}

static void insert(int first, int count)
{
	printf("%lld\n", now());
	for (int done = 0, size = 0; done < count; done++) {
		int last = done + 1 == count || (done + 1) % BATCH == 0;

		size += write_entry(size, first + done, NLM_F_CREATE | NLM_F_EXCL | (last ? NLM_F_ACK : 0), 1);
		if (!last)
			continue;
		transact(size);
		size = 0;
	}
}

static void update(int first, int count, int pause)
{
	static unsigned mark = 1;

	mark++;
	for (int i = 0; i < count; i++) {
		int size = write_entry(0, first + i, NLM_F_ACK, mark);

		printf("%lld\n", now());
		transact(size);
		usleep(pause);
	}
}

static void flush(void)
{
	struct nlmsghdr *message = begin(0, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);

	printf("%lld\n", now());
	transact(message->nlmsg_len);
}

int main(void)
{
	char line[128];
	int first, count, pause;

	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (netlink < 0)
		fail("socket");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "insert %d %d", &first, &count) == 2)
			insert(first, count);
		else if (sscanf(line, "update %d %d %d", &first, &count, &pause) == 3)
			update(first, count, pause);
		else if (!strncmp(line, "flush", 5))
			flush();
		else
			return 2;
		puts("done");
		fflush(stdout);
	}
	return 0;
}
