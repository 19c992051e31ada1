// SPDX-License-Identifier: MIT
/*
 * Many long-lived TCP flows, each byte of which is checked by the end that receives it. One thread, one
 * epoll; both ends are this program:
 *
 *   flows serve ADDRESS:PORT...     answers an HTTP request head, and then talks as the request says
 *   flows run                       the client: opens flows as it is told on standard input
 *
 * A flow begins with a request head and the head of an answer (200), so that a layer-7 balancer has
 * something to choose by; nothing else is sent before the answer is there. Then both directions carry a
 * stream that follows from the flow's key (stream.h). A client ends a flow by half-closing it; the server
 * ends its own stream, and last says in a trailer of 32 octets how much it has received and sent. What
 * differs from that is a broken flow.
 *
 *   kind       the client sends         the server sends
 *   download   nothing                  `bytes`, or without end
 *   upload     `bytes`, or without end  nothing
 *   both       both of that
 *   ping       `size` octets every `every` ms, unless an echo is still due; as many octets back
 *   idle       nothing                  nothing
 *
 * Commands, a line each; an answer is a line of JSON. Times are milliseconds of CLOCK_MONOTONIC.
 *
 *   start NAME kind=KIND count=N to=ADDRESS:PORT[,...] [from=ADDRESS[,...]] [bytes=N] [pace=N]
 *         [every=MS] [size=N] [opening=N] [rate=N] [seed=N]             {"started":NAME}
 *     Opens `count` flows (client only), to and from the addresses in turn: at most `opening` (64) of
 *     them unanswered at a time, and no more than `rate` a second (0: any number). `pace`: octets a
 *     second of each stream (0: as fast as it goes); the sender has data to send all the time. `bytes`
 *     0, the default: until the end is commanded.
 *   end NAME    half-closes its flows (client only), a few at a time    {"ending":NAME}
 *     Opens none any more. Those that have a length (`bytes`) are let come to it.
 *   mark        stalls are counted anew from now on                     {"marked":AT}
 *   count       what has become of the flows, without stalls: cheap     {"at":AT,"mark":AT,"groups":[G...]}
 *   report      the same with stalls
 *   stop        the process ends; so it does when its standard input ends
 *
 * G: {"name","kind","wanted","begun","setting_up","opened","alive","ended","not_made","resets","wrong",
 *     "bytes_sent","bytes_received","not_made_by":{CAUSE:N},"broken_by":{CAUSE:N},
 *     "waiting":N,"stall_ms":{"flows","p50","p99","max"},"stalls":[MS...]}
 *
 * `opened`: answered; `ended`: to its end, and all right; `not_made`: lost before the answer; broken: lost
 * after it, of which `resets` (ECONNRESET, EPIPE) and `wrong` (octets that are not the stream's). A cause
 * is the name of an errno, or: wrong bytes, wrong length (the trailer tells of other numbers), cut short
 * (the stream's end without a trailer), no answer (within 30 s), status NNN, bad head.
 *
 * A stall is the longest time without an octet while octets were due, as far as it lies after the mark:
 * for this end of a download, an upload or both, all the time; for a ping from its sending to the whole
 * echo. So downloads and pings are told of by the client, uploads by the server. It counts flows that
 * wait still (`waiting`), too. `stalls` lists them when they are no more than 4096.
 *
 * Unasked, the first 10,000 losses: {"lost":CAUSE,"group","kind","key","made","sent","received","begun",
 * "at",
 * "here":{"address","port"},"to":{"address","port"}}: this end, and where the client has connected to; by
 * the key the ends' lines belong together. At the start: {"ready":true}. What cannot be done at all ends the process with a sentence on standard error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "flow.h"

#define EVENTS 1024
#define LINE_MAX_LENGTH 8192
#define STDOUT_BUFFER (4 << 20)
/* As many as a process may have where nobody has changed that (fs.nr_open). */
#define OPEN_FILES 1048576
/* Marks standard input among the events; listeners are odd numbers, flows are addresses. */
#define INPUT 0
#define OPENING_DEFAULT 64
#define SIZE_DEFAULT 64

const char *const kind_names[KINDS] = { "download", "upload", "both", "ping", "idle" };
struct group groups[GROUPS_MAX];
unsigned int groups_count;
struct flow **flows;
uint32_t flows_count;
int64_t mark_at;
bool serving;
int epoll_fd;

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

void fail(const char *what)
{
	fprintf(stderr, "flows: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void misuse(const char *what)
{
	fprintf(stderr, "flows: %s\n", what);
	exit(2);
}

/* ADDRESS:PORT, [ADDRESS]:PORT, or an address alone. */
static struct endpoint parse_endpoint(char *text, bool with_port)
{
	struct endpoint at = { 0 };
	char *port = with_port ? strrchr(text, ':') : NULL;
	uint16_t number = 0;

	if (with_port && !port)
		misuse("expected ADDRESS:PORT");
	if (port) {
		*port = 0;
		number = htons(atoi(port + 1));
	}
	if (text[0] == '[' && text[strlen(text) - 1] == ']') {
		text[strlen(text) - 1] = 0;
		text++;
	}
	if (inet_pton(AF_INET, text, &at.v4.sin_addr) == 1) {
		at.v4.sin_family = AF_INET;
		at.v4.sin_port = number;
		at.size = sizeof(at.v4);
	} else if (inet_pton(AF_INET6, text, &at.v6.sin6_addr) == 1) {
		at.v6.sin6_family = AF_INET6;
		at.v6.sin6_port = number;
		at.size = sizeof(at.v6);
	} else {
		misuse("expected an IPv4 or IPv6 address");
	}
	return at;
}

static unsigned int parse_endpoints(char *list, struct endpoint *into, bool with_port)
{
	unsigned int n = 0;
	char *rest, *one;

	for (one = strtok_r(list, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
		if (n == ENDPOINTS_MAX)
			misuse("too many addresses");
		into[n++] = parse_endpoint(one, with_port);
	}
	return n;
}

static void set(struct group *group, const char *key, char *value)
{
	const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{ "count", &group->count }, { "bytes", &group->bytes },
		{ "pace", &group->pace }, { "size", &group->size },
		{ "seed", &group->seed }, { "rate", &group->rate },
		{ "opening", &group->opening },
	};
	unsigned int i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (!strcmp(key, numbers[i].name)) {
			*numbers[i].value = strtoull(value, NULL, 10);
			return;
		}
	}
	if (!strcmp(key, "to")) {
		group->tos = parse_endpoints(value, group->to, true);
	} else if (!strcmp(key, "from")) {
		group->froms = parse_endpoints(value, group->from, false);
	} else if (!strcmp(key, "every")) {
		group->every = strtod(value, NULL) * 1e6;
	} else if (!strcmp(key, "kind")) {
		for (i = 0; i < KINDS && strcmp(value, kind_names[i]); i++)
			;
		if (i == KINDS)
			misuse("start: no such kind");
		group->kind = i;
	} else {
		misuse("start: unknown word");
	}
}

static void start(const char *name, char **rest)
{
	struct group *group;
	char *word, *value;

	if (serving || !name || strlen(name) > NAME_MAX_LENGTH || group_named(name, false))
		misuse("start: expected a new name, at a client");
	group = group_named(name, true);
	if (!group)
		misuse("start: too many groups");
	group->opening = OPENING_DEFAULT;
	group->size = SIZE_DEFAULT;
	while ((word = strtok_r(NULL, " ", rest))) {
		value = strchr(word, '=');
		if (!value)
			misuse("start: expected WORD=VALUE");
		*value++ = 0;
		set(group, word, value);
	}
	if (group->count == 0 || group->tos == 0 || group->opening == 0 || group->size == 0)
		misuse("start: expected count= and to=");
	client_start(group);
	printf("{\"started\":\"%s\"}\n", name);
}

static void end(const char *name)
{
	struct group *group = name ? group_named(name, false) : NULL;

	if (serving || !group)
		misuse("end: no such group");
	group->ending = true;
	printf("{\"ending\":\"%s\"}\n", name);
}

static void obey(char *line)
{
	char *rest, *word = strtok_r(line, " ", &rest);

	if (!word)
		return;
	if (!strcmp(word, "start"))
		start(strtok_r(NULL, " ", &rest), &rest);
	else if (!strcmp(word, "end"))
		end(strtok_r(NULL, " ", &rest));
	else if (!strcmp(word, "mark"))
		mark();
	else if (!strcmp(word, "count"))
		report(false);
	else if (!strcmp(word, "report"))
		report(true);
	else if (!strcmp(word, "stop"))
		exit(0);
	else
		misuse("unknown command");
}

static void read_commands(void)
{
	static char text[LINE_MAX_LENGTH];
	static size_t length;
	ssize_t n = read(STDIN_FILENO, text + length, sizeof(text) - length);
	char *line = text, *newline;

	if (n <= 0)
		exit(0);	/* the parent is gone */
	length += n;
	while ((newline = memchr(line, '\n', text + length - line))) {
		*newline = 0;
		obey(line);
		line = newline + 1;
	}
	length -= line - text;
	memmove(text, line, length);
	if (length == sizeof(text))
		misuse("a command that is too long");
}

static void handle(const struct epoll_event *event, int64_t now)
{
	struct flow *flow = event->data.ptr;

	if (event->data.u64 == INPUT)
		read_commands();
	else if (event->data.u64 & 1)
		server_accept(event->data.ptr);
	else if (serving)
		server_event(flow, event->events, now);
	else
		client_event(flow, event->events, now);
}

static void loop(void)
{
	static struct epoll_event events[EVENTS];
	int64_t wait;
	int i, n;

	for (;;) {
		wait = serving ? -1 : client_work(now_ns());
		fflush(stdout);
		n = epoll_wait(epoll_fd, events, EVENTS, wait);
		if (n < 0 && errno != EINTR)
			fail("epoll_wait");
		for (i = 0; i < n; i++)
			handle(&events[i], now_ns());
	}
}

static void prepare(void)
{
	struct rlimit files = { OPEN_FILES, OPEN_FILES };
	struct epoll_event input = { .events = EPOLLIN, .data.u64 = INPUT };

	/* Without the right to raise it, as many flows as the limit has room for. */
	if (setrlimit(RLIMIT_NOFILE, &files) < 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	setvbuf(stdout, NULL, _IOFBF, STDOUT_BUFFER);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0)
		fail("epoll");
}

int main(int argc, char **argv)
{
	struct endpoint at;
	int i;

	serving = argc > 2 && !strcmp(argv[1], "serve");
	if (!serving && !(argc == 2 && !strcmp(argv[1], "run")))
		misuse("usage: flows serve ADDRESS:PORT... | flows run");
	prepare();
	for (i = 2; i < argc; i++) {
		at = parse_endpoint(argv[i], true);
		server_listen(&at);
	}
	printf("{\"ready\":true}\n");
	loop();
}
