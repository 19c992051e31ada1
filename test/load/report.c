// SPDX-License-Identifier: MIT
/* What has become of the flows, as JSON. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow.h"

#define STALLS_KEPT_MAX (1u << 20)
/* So many are listed one by one. */
#define STALLS_LISTED_MAX 4096
#define LOSSES_TOLD_MAX 10000

static uint64_t losses_told;

struct group *group_named(const char *name, bool create)
{
	struct group *group;
	unsigned int i;

	for (i = 0; i < groups_count; i++)
		if (!strcmp(groups[i].name, name))
			return &groups[i];
	if (!create || groups_count == GROUPS_MAX)
		return NULL;
	group = &groups[groups_count++];
	snprintf(group->name, sizeof(group->name), "%s", name);
	return group;
}

void count_cause(struct cause *causes, const char *name)
{
	unsigned int i;

	for (i = 0; i < CAUSES_MAX - 1 && causes[i].count > 0 && strcmp(causes[i].name, name); i++)
		;
	if (causes[i].count == 0)
		snprintf(causes[i].name, sizeof(causes[i].name), "%s",
			 i < CAUSES_MAX - 1 ? name : "others");
	causes[i].count++;
}

void keep_stall(struct group *group, int64_t stall)
{
	if (stall <= 0 || group->ended_stalls_count == STALLS_KEPT_MAX)
		return;
	if (group->ended_stalls_count == group->ended_stalls_room) {
		group->ended_stalls_room = group->ended_stalls_room ? 2 * group->ended_stalls_room : 256;
		group->ended_stalls = realloc(group->ended_stalls,
					      group->ended_stalls_room * sizeof(int64_t));
		if (!group->ended_stalls)
			fail("memory for stalls");
	}
	group->ended_stalls[group->ended_stalls_count++] = stall;
}

/* From here on, stalls are counted anew. */
void mark(void)
{
	uint32_t i;

	mark_at = now_ns();
	for (i = 0; i < flows_count; i++)
		flows[i]->stall = 0;
	for (i = 0; i < groups_count; i++)
		groups[i].ended_stalls_count = 0;
	printf("{\"marked\":%.3f}\n", mark_at / 1e6);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Nearest rank. */
static double rank_ms(const int64_t *sorted, uint64_t n, double share)
{
	uint64_t at = (uint64_t)(n * share);

	return n == 0 ? 0 : sorted[at < n ? at : n - 1] / 1e6;
}

/* Of flows that have waited since the mark, those that still wait included. */
static void print_stalls(const struct group *group)
{
	int64_t *stalls = malloc((flows_count + group->ended_stalls_count + 1) * sizeof(*stalls));
	int64_t now = now_ns(), waits, from;
	uint64_t n = group->ended_stalls_count, waiting = 0, i;

	if (!stalls)
		fail("memory for stalls");
	if (n > 0)
		memcpy(stalls, group->ended_stalls, n * sizeof(*stalls));
	for (i = 0; i < flows_count; i++) {
		const struct flow *flow = flows[i];

		if (flow->group != group || flow->state < TALKING)
			continue;
		from = flow->since > mark_at ? flow->since : mark_at;
		waits = flow->since ? now - from : 0;
		waiting += flow->since != 0;
		if (waits < flow->stall)
			waits = flow->stall;
		if (waits > 0)
			stalls[n++] = waits;
	}
	qsort(stalls, n, sizeof(*stalls), by_value);
	printf(",\"waiting\":%" PRIu64 ",\"stall_ms\":{\"flows\":%" PRIu64
	       ",\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}",
	       waiting, n, rank_ms(stalls, n, 0.5), rank_ms(stalls, n, 0.99), rank_ms(stalls, n, 1));
	printf(",\"stalls\":[");
	for (i = 0; i < n && n <= STALLS_LISTED_MAX; i++)
		printf("%s%.3f", i ? "," : "", stalls[i] / 1e6);
	printf("]");
	free(stalls);
}

static void print_causes(const char *name, const struct cause *causes)
{
	unsigned int i;

	printf(",\"%s\":{", name);
	for (i = 0; i < CAUSES_MAX && causes[i].count > 0; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", causes[i].name, causes[i].count);
	printf("}");
}

static void print_group(const struct group *group, bool with_stalls)
{
	printf("{\"name\":\"%s\",\"kind\":\"%s\",\"wanted\":%" PRIu64 ",\"begun\":%" PRIu64
	       ",\"setting_up\":%" PRIu64 ",\"opened\":%" PRIu64 ",\"alive\":%" PRIu64
	       ",\"ended\":%" PRIu64 ",\"not_made\":%" PRIu64 ",\"resets\":%" PRIu64
	       ",\"wrong\":%" PRIu64 ",\"bytes_sent\":%" PRIu64 ",\"bytes_received\":%" PRIu64,
	       group->name, kind_names[group->kind], group->count, group->begun, group->setting_up,
	       group->opened, group->alive, group->ended, group->not_made, group->resets,
	       group->wrong, group->bytes_sent, group->bytes_received);
	print_causes("not_made_by", group->not_made_by);
	print_causes("broken_by", group->broken_by);
	if (with_stalls)
		print_stalls(group);
	printf("}");
}

void report(bool with_stalls)
{
	unsigned int i;

	printf("{\"at\":%.3f,\"mark\":%.3f,\"groups\":[", now_ns() / 1e6, mark_at / 1e6);
	for (i = 0; i < groups_count; i++) {
		printf(i ? "," : "");
		print_group(&groups[i], with_stalls);
	}
	printf("]}\n");
}

static void print_endpoint(const char *name, const struct endpoint *at)
{
	bool v6 = at->any.sa_family == AF_INET6;
	const void *from = v6 ? (void *)&at->v6.sin6_addr : (void *)&at->v4.sin_addr;
	char address[INET6_ADDRSTRLEN] = "";

	inet_ntop(at->any.sa_family, from, address, sizeof(address));
	printf(",\"%s\":{\"address\":\"%s\",\"port\":%u}", name, address,
	       ntohs(v6 ? at->v6.sin6_port : at->v4.sin_port));
}

/* The first of them one by one. */
void tell_lost(const struct flow *flow, const char *why, bool made)
{
	const struct group *group = flow->group;
	struct endpoint here = { .size = sizeof(here) - sizeof(here.size) };

	if (losses_told++ >= LOSSES_TOLD_MAX)
		return;
	printf("{\"lost\":\"%s\",\"group\":\"%s\",\"kind\":\"%s\",\"key\":\"%" PRIx64
	       "\",\"made\":%s,\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"begun\":%.3f,\"at\":%.3f",
	       why, group->name, kind_names[group->kind], flow->key, made ? "true" : "false",
	       flow->sent, flow->received, flow->begun / 1e6, now_ns() / 1e6);
	if (getsockname(flow->fd, &here.any, &here.size) == 0)
		print_endpoint("here", &here);
	if (!serving)
		print_endpoint("to", &group->to[flow->slot % group->tos]);
	printf("}\n");
}
