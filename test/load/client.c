// SPDX-License-Identifier: MIT
/* The client's end: opens flows at the pace that is asked for, talks, and ends them when told to. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "flow.h"

#define SETUP_NS_MAX 30000000000ll
#define LOOK_NS 1000000000ll
/* Messages, and half-closes, before others have their turn. */
#define WORK_A_TURN 1000
#define CLOSING_MAX 256

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* Of splitmix64: flows that follow upon each other have keys that do not. */
static uint64_t key_of(uint64_t seed, uint64_t index)
{
	uint64_t x = seed + (index + 1) * 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static void open_flow(struct group *group, int64_t now)
{
	uint64_t index = group->next_open++;
	const struct endpoint *to = &group->to[index % group->tos];
	const struct endpoint *from =
		group->froms ? &group->from[index / group->tos % group->froms] : NULL;
	int on = 1, fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct flow *flow;

	if (fd < 0)
		fail("socket");
	flow = flow_new(group, fd);
	flow->key = key_of(group->seed, index);
	flow->slot = index;
	flow->since = now;
	group->slots[index] = flow;
	group->begun++;
	group->setting_up++;
	flow_tune(flow);
	/* The port is chosen at connect(), so that several servers can be reached from the same one. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (from && bind(fd, &from->any, from->size) < 0)
		flow_lose_errno(flow);
	else if (connect(fd, &to->any, to->size) < 0 && errno != EINPROGRESS)
		flow_lose_errno(flow);
	else
		flow_watch(flow, EPOLLOUT);
}

static void request(struct flow *flow)
{
	const struct group *group = flow->group;
	bool sends = group->kind == UPLOAD || group->kind == BOTH;
	uint64_t length = group->bytes ? group->bytes : (uint64_t)1 << 52;
	char text[HEAD_MAX], length_field[64] = "";
	socklen_t size = sizeof(errno);
	int error = 0, n;

	if (getsockopt(flow->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error) {
		errno = error;
		flow_lose_errno(flow);
		return;
	}
	if (sends)
		snprintf(length_field, sizeof(length_field), "Content-Length: %" PRIu64 "\r\n", length);
	n = snprintf(text, sizeof(text),
		     "%s /%s/%s/%" PRIx64 "/%" PRIu64 "/%" PRIu64 " HTTP/1.1\r\nHost: flows\r\n%s\r\n",
		     sends ? "PUT" : "GET", group->name, kind_names[group->kind], flow->key,
		     group->bytes, group->pace, length_field);
	flow->state = HEAD;
	if (flow_send_raw(flow, text, n))
		flow_watch(flow, EPOLLIN);
}

/* Half-closes as soon as nothing is left to be sent. */
static void finish(struct flow *flow)
{
	if (flow->state != TALKING || flow->sent < flow->to_send)
		return;
	flow->state = CLOSING;
	flow->group->closing++;
	flow->since = 0;
	if (shutdown(flow->fd, SHUT_WR) < 0)
		flow_lose_errno(flow);
	else
		flow_watch(flow, EPOLLIN);
}

static void end_flow(struct flow *flow)
{
	flow->ending = true;
	if (flow->to_send == FOREVER)
		flow->to_send = flow->sent;
	finish(flow);
}

/* Such a flow comes to its end by itself. */
static bool finite(const struct group *group)
{
	return group->bytes > 0 && group->kind <= BOTH;
}

static bool finite_done(const struct flow *flow)
{
	const struct group *group = flow->group;
	bool receives = group->kind == DOWNLOAD || group->kind == BOTH;

	return finite(group) && flow->sent == flow->to_send &&
	       (!receives || flow->received >= group->bytes);
}

static void talk(struct flow *flow, int64_t now)
{
	struct group *group = flow->group;

	free(flow->head);
	flow->head = NULL;
	flow->state = TALKING;
	flow->since = 0;
	group->setting_up--;
	group->opened++;
	group->alive++;
	if (group->kind == DOWNLOAD || group->kind == BOTH)
		flow_wait(flow, now);
	if (group->kind == UPLOAD || group->kind == BOTH)
		flow->to_send = group->bytes ? group->bytes : FOREVER;
	if (group->ending && !finite(group))
		end_flow(flow);
	else if (flow_send(flow) && finite_done(flow))
		finish(flow);
}

static void read_answer(struct flow *flow, int64_t now)
{
	char status[16];

	if (flow_read_head(flow) != 1)
		return;
	if (sscanf(flow->head, "HTTP/1.%*c %3s", status) != 1) {
		flow_lose(flow, "bad head");
	} else if (strcmp(status, "200")) {
		char why[28];

		snprintf(why, sizeof(why), "status %s", status);
		flow_lose(flow, why);
	} else {
		talk(flow, now);
	}
}

static void end_of_stream(struct flow *flow)
{
	uint64_t arrived, gone;
	char text[TRAILER_SIZE + 1] = "";

	memcpy(text, flow->tail, flow->tail_length);
	if (flow->state != CLOSING || flow->tail_length != TRAILER_SIZE)
		flow_lose(flow, "cut short");
	else if (sscanf(text, "E%15" SCNx64 "%15" SCNx64, &arrived, &gone) != 2)
		flow_lose(flow, "wrong bytes");
	else if (arrived != flow->sent || gone != flow->received)
		flow_lose(flow, "wrong length");
	else
		flow_end(flow);
}

static void take(struct flow *flow, int64_t now)
{
	if (flow_read(flow, now, end_of_stream) == 0)
		return;
	if (flow->group->kind == PING && flow->received == flow->sent)
		flow->since = 0;
	if (flow->state == TALKING && finite_done(flow))
		finish(flow);
}

void client_event(struct flow *flow, uint32_t events, int64_t now)
{
	if (flow->state == CONNECTING) {
		request(flow);
		return;
	}
	if (flow->state == HEAD) {
		read_answer(flow, now);
		return;
	}
	if (events & EPOLLOUT) {
		if (!flow_send(flow))
			return;
		if (flow->ending || finite_done(flow)) {
			finish(flow);
			return;
		}
	}
	if (events & ~EPOLLOUT)
		take(flow, now);
}

static void open_some(struct group *group, int64_t now)
{
	uint64_t due = group->count;

	if (group->ending)
		return;
	if (group->rate > 0)
		due = (double)(now - group->started) * group->rate / 1e9;
	while (group->next_open < group->count && group->next_open < due &&
	       group->setting_up < group->opening)
		open_flow(group, now);
}

/* One message of each flow in every period, evenly spread. One that waits for its echo is left out. */
static void send_messages(struct group *group, int64_t now)
{
	uint64_t due = (double)(now - group->started) * group->count / group->every;
	int turn = 0;

	if (group->next_ping + group->count < due)
		group->next_ping = due - group->count;
	for (; group->next_ping < due && turn < WORK_A_TURN; group->next_ping++) {
		struct flow *flow = group->slots[group->next_ping % group->count];

		if (!flow || flow->state != TALKING || flow->ending || flow->received < flow->sent)
			continue;
		turn++;
		flow->to_send += group->size;
		flow_wait(flow, now);
		flow_send(flow);
	}
}

static void end_some(struct group *group)
{
	int turn = 0;

	if (finite(group))
		return;
	while (group->next_end < group->count && turn < WORK_A_TURN && group->closing < CLOSING_MAX) {
		struct flow *flow = group->slots[group->next_end++];

		if (!flow || flow->state != TALKING)
			continue;
		turn++;
		end_flow(flow);
	}
}

/* Set-ups that nobody answers. */
static void look_for_late(int64_t now)
{
	static int64_t looked;
	uint32_t i = 0;

	if (now - looked < LOOK_NS)
		return;
	looked = now;
	while (i < flows_count) {
		struct flow *flow = flows[i];

		if (flow->state < TALKING && now - flow->since > SETUP_NS_MAX)
			flow_lose(flow, "no answer");	/* another one takes its place */
		else
			i++;
	}
}

/* @returns milliseconds until there may be something to do; -1: when something comes. */
int64_t client_work(int64_t now)
{
	unsigned int i;
	int64_t wait = -1;
	bool setting_up = false;

	for (i = 0; i < groups_count; i++) {
		struct group *group = &groups[i];

		open_some(group, now);
		if (group->kind == PING && group->every > 0 && group->alive > 0)
			send_messages(group, now);
		if (group->ending)
			end_some(group);
		setting_up |= group->setting_up > 0;
		if ((group->kind == PING && group->every > 0 && group->alive > 0) ||
		    (group->next_open < group->count && !group->ending) ||
		    (group->ending && !finite(group) && group->next_end < group->count))
			wait = 1;
	}
	if (setting_up) {
		look_for_late(now);
		wait = wait < 0 ? 100 : wait;
	}
	return wait;
}

void client_start(struct group *group)
{
	group->slots = calloc(group->count, sizeof(*group->slots));
	if (!group->slots)
		fail("memory for flows");
	group->started = now_ns();
}
