// SPDX-License-Identifier: MIT
/* What the two ends of a flow have in common: its stream, its waits, its end. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "flow.h"
#include "stream.h"

#define CHUNK 131072
#define CHUNK_PACED 16384

static uint8_t outgoing[CHUNK];
static uint8_t incoming[TRAILER_SIZE + 2 * CHUNK];
static uint32_t flows_room;

struct flow *flow_new(struct group *group, int fd)
{
	struct flow *flow = calloc(1, sizeof(*flow));

	if (flows_count == flows_room) {
		flows_room = flows_room ? 2 * flows_room : 1024;
		flows = realloc(flows, flows_room * sizeof(*flows));
	}
	if (!flow || !flows)
		fail("memory for flows");
	flow->group = group;
	flow->begun = now_ns();
	flow->fd = fd;
	flow->place = flows_count;
	flows[flows_count++] = flow;
	return flow;
}

void flow_watch(struct flow *flow, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = flow };
	int operation = flow->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (flow->watched == events)
		return;
	if (epoll_ctl(epoll_fd, operation, flow->fd, &event) < 0)
		fail("epoll_ctl");
	flow->watched = events;
}

/* A paced stream is always busy: the kernel has data to send, and sends it at the pace. */
void flow_tune(struct flow *flow)
{
	int on = 1, unsent = CHUNK_PACED;

	setsockopt(flow->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(flow->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	if (flow->group->pace > 0 &&
	    setsockopt(flow->fd, SOL_SOCKET, SO_MAX_PACING_RATE, &flow->group->pace,
		       sizeof(flow->group->pace)) < 0)
		fail("SO_MAX_PACING_RATE");
}

static void flow_free(struct flow *flow)
{
	close(flow->fd);
	flows[flow->place] = flows[--flows_count];
	flows[flow->place]->place = flow->place;
	if (flow->group && flow->group->slots)
		flow->group->slots[flow->slot] = NULL;
	free(flow->head);
	free(flow);
}

/* From now on bytes are due. */
void flow_wait(struct flow *flow, int64_t now)
{
	if (flow->since == 0)
		flow->since = now;
}

/* Bytes that were due have come; more are, unless the caller says otherwise. */
void flow_progress(struct flow *flow, int64_t now)
{
	int64_t from = flow->since > mark_at ? flow->since : mark_at;

	if (flow->since == 0)
		return;
	if (now - from > flow->stall)
		flow->stall = now - from;
	flow->since = now;
}

static void leave(struct flow *flow)
{
	struct group *group = flow->group;

	if (flow->state < TALKING) {
		group->setting_up--;
		return;
	}
	group->alive--;
	if (flow->state == CLOSING)
		group->closing--;
	keep_stall(group, flow->stall);
}

/* It has ended as it should. */
void flow_end(struct flow *flow)
{
	leave(flow);
	flow->group->ended++;
	flow_free(flow);
}

/* It has ended otherwise, or has never come about. */
void flow_lose(struct flow *flow, const char *why)
{
	struct group *group = flow->group;
	bool made = flow->state >= TALKING;

	if (!group) {
		flow_free(flow);	/* a server's, before its request */
		return;
	}
	tell_lost(flow, why, made);
	leave(flow);
	if (made) {
		count_cause(group->broken_by, why);
		group->resets += !strcmp(why, "ECONNRESET") || !strcmp(why, "EPIPE");
		group->wrong += !strcmp(why, "wrong bytes");
	} else {
		group->not_made++;
		count_cause(group->not_made_by, why);
	}
	flow_free(flow);
}

void flow_lose_errno(struct flow *flow)
{
	const char *name = strerrorname_np(errno);

	flow_lose(flow, name ? name : "unknown");
}

static bool waits_for_room(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Sends what is due of the stream, and asks to be told when there is room for more. */
bool flow_send(struct flow *flow)
{
	uint64_t key = serving ? flow->key ^ TO_CLIENT : flow->key;
	uint64_t due = flow->to_send - flow->sent;
	uint64_t most = flow->group->pace > 0 ? CHUNK_PACED : CHUNK;
	uint64_t n = due < most ? due : most;
	ssize_t done;

	if (n > 0) {
		stream_fill(key, flow->sent, outgoing, n);
		done = send(flow->fd, outgoing, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (done < 0 && !waits_for_room()) {
			flow_lose_errno(flow);
			return false;
		}
		if (done > 0) {
			flow->sent += done;
			flow->group->bytes_sent += done;
		}
	}
	flow_watch(flow, EPOLLIN | (flow->sent < flow->to_send ? EPOLLOUT : 0));
	return true;
}

/* A head: so short that a connection that has carried nothing yet takes it at once. */
bool flow_send_raw(struct flow *flow, const void *bytes, uint64_t n)
{
	ssize_t done = send(flow->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (done == (ssize_t)n)
		return true;
	if (done < 0)
		flow_lose_errno(flow);
	else
		flow_lose(flow, "short write");
	return false;
}

/* @returns 1 when a whole head stands in flow->head, 0 when not yet, -1 when the flow is lost. */
int flow_read_head(struct flow *flow)
{
	char *here, *end;
	ssize_t n;

	if (!flow->head && !(flow->head = malloc(HEAD_MAX + 1)))
		fail("memory for a head");
	here = flow->head + flow->head_length;
	n = recv(flow->fd, here, HEAD_MAX - flow->head_length, MSG_DONTWAIT | MSG_PEEK);
	if (n < 0 && waits_for_room())
		return 0;
	if (n <= 0) {
		if (n < 0)
			flow_lose_errno(flow);
		else
			flow_lose(flow, flow->head_length == HEAD_MAX ? "bad head" : "cut short");
		return -1;
	}
	here[n] = 0;
	end = strstr(flow->head, "\r\n\r\n");
	if (end)
		n = end + 4 - here;
	n = recv(flow->fd, here, n, MSG_DONTWAIT);
	if (n < 0) {
		flow_lose_errno(flow);
		return -1;
	}
	flow->head_length += n;
	return end ? 1 : 0;
}

/*
 * Compares `n` bytes with the stream. While a client waits for the trailer, the last bytes so far may
 * be of it, and are put by: there is room for them in front of `bytes`.
 */
static bool flow_take(struct flow *flow, uint8_t *bytes, uint64_t n, int64_t now)
{
	uint64_t key = serving ? flow->key : flow->key ^ TO_CLIENT;
	uint64_t keep = 0;

	flow_progress(flow, now);
	flow->group->bytes_received += n;
	if (!serving && flow->state == CLOSING) {
		bytes -= flow->tail_length;
		memcpy(bytes, flow->tail, flow->tail_length);
		n += flow->tail_length;
		keep = n < TRAILER_SIZE ? n : TRAILER_SIZE;
		n -= keep;
		memcpy(flow->tail, bytes + n, keep);
		flow->tail_length = keep;
	}
	if (stream_check(key, flow->received, bytes, n) < n) {
		flow_lose(flow, "wrong bytes");
		return false;
	}
	flow->received += n;
	return true;
}

/*
 * Takes in what has arrived, as much as one recv() has. `ended` is told that no more will come.
 * @returns how many octets were taken; 0: none, or the flow is lost.
 */
long flow_read(struct flow *flow, int64_t now, void (*ended)(struct flow *flow))
{
	uint8_t *bytes = incoming + TRAILER_SIZE;	/* room for a trailer's length in front */
	long n = recv(flow->fd, bytes, sizeof(incoming) - TRAILER_SIZE, MSG_DONTWAIT);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			flow_lose_errno(flow);
		return 0;
	}
	if (n == 0) {
		ended(flow);
		return 0;
	}
	return flow_take(flow, bytes, n, now) ? n : 0;
}
