// SPDX-License-Identifier: MIT
/* The server's end: reads a request, answers its head, and talks as the request says. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "flow.h"

#define BACKLOG 65535
#define ACCEPTS_A_TURN 64

static const char answer[] =
	"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";

void server_listen(const struct endpoint *at)
{
	int on = 1, fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)fd << 1 | 1 };

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		fail("socket");
	if (bind(fd, &at->any, at->size) < 0)
		fail("bind");
	if (listen(fd, BACKLOG) < 0)
		fail("listen");
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl");
}

/* Some of those that wait; others have their turn before the rest. */
void server_accept(void *listener)
{
	int fd, i;

	for (i = 0; i < ACCEPTS_A_TURN; i++) {
		fd = accept4((int)((uintptr_t)listener >> 1), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
			return;
		if (fd < 0)
			fail("accept");
		flow_watch(flow_new(NULL, fd), EPOLLIN);
	}
}

/* GET or PUT /GROUP/KIND/KEY/BYTES/PACE: see client.c. */
static bool understand(struct flow *flow)
{
	char name[NAME_MAX_LENGTH + 1], kind[16];
	uint64_t bytes, pace;
	struct group *group;
	unsigned int k;

	if (sscanf(flow->head, "%*3[A-Z] /%31[^/]/%15[^/]/%" SCNx64 "/%" SCNu64 "/%" SCNu64 " ",
		   name, kind, &flow->key, &bytes, &pace) != 5)
		return false;
	for (k = 0; k < KINDS && strcmp(kind, kind_names[k]); k++)
		;
	if (k == KINDS || !(group = group_named(name, true)))
		return false;
	group->kind = k;
	group->pace = pace;
	flow->group = group;
	if (k == DOWNLOAD || k == BOTH)
		flow->to_send = bytes > 0 ? bytes : FOREVER;
	return true;
}

static void begin(struct flow *flow, int64_t now)
{
	struct group *group;

	if (!understand(flow)) {
		flow->group = NULL;
		flow_lose(flow, "bad request");
		return;
	}
	free(flow->head);
	flow->head = NULL;
	flow_tune(flow);
	group = flow->group;
	flow->state = TALKING;
	group->begun++;
	group->opened++;
	group->alive++;
	if (!flow_send_raw(flow, answer, sizeof(answer) - 1))
		return;
	if (group->kind == UPLOAD || group->kind == BOTH)
		flow_wait(flow, now);
	flow_send(flow);
}

/* The last words: how much has come here, and how much of the stream has gone. */
static void send_trailer(struct flow *flow)
{
	char text[TRAILER_SIZE + 1];
	ssize_t done;

	if (flow->state != CLOSING) {
		flow->state = CLOSING;
		flow->group->closing++;
		flow->since = 0;
		snprintf(text, sizeof(text), "E%015" PRIx64 "%015" PRIx64 "\n",
			 flow->received & 0xfffffffffffffff, flow->sent & 0xfffffffffffffff);
		memcpy(flow->tail, text, TRAILER_SIZE);
		flow->tail_length = TRAILER_SIZE;
	}
	done = send(flow->fd, flow->tail + TRAILER_SIZE - flow->tail_length, flow->tail_length,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done < 0 && errno != EAGAIN) {
		flow_lose_errno(flow);
		return;
	}
	if (done > 0)
		flow->tail_length -= done;
	if (flow->tail_length == 0)
		flow_end(flow);
	else
		flow_watch(flow, EPOLLOUT);
}

static void end_of_stream(struct flow *flow)
{
	flow->ending = true;
	if (flow->group->kind != PING)
		flow->to_send = flow->sent;
	if (flow->sent == flow->to_send)
		send_trailer(flow);
	else
		flow_watch(flow, EPOLLOUT);
}

static void take(struct flow *flow, int64_t now)
{
	long n = flow_read(flow, now, end_of_stream);

	if (n > 0 && flow->group->kind == PING) {
		flow->to_send += n;
		flow_send(flow);
	}
}

void server_event(struct flow *flow, uint32_t events, int64_t now)
{
	if (!flow->group) {
		if (flow_read_head(flow) == 1)
			begin(flow, now);
		return;
	}
	if (flow->state == CLOSING) {
		send_trailer(flow);
		return;
	}
	if (events & EPOLLOUT) {
		if (!flow_send(flow))
			return;
		if (flow->ending) {
			if (flow->sent == flow->to_send)
				send_trailer(flow);
			else
				flow_watch(flow, EPOLLOUT);
			return;
		}
	}
	if (events & ~EPOLLOUT)
		take(flow, now);
}
