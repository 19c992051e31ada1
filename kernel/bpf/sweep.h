/* SPDX-License-Identifier: GPL-2.0-only */
/* What removes the entries whose time is up. */
#ifndef SPLICE_SWEEP_H
#define SPLICE_SWEEP_H

#include "table.h"

#define SWEEP_TICK_MS 20
#define SWEEP_HASTE_MS 2	/* until the next tick when this one had to stop early */
#define SWEEP_SLOTS_MAX 8192
#define SWEEP_REMOVALS_MAX 128	/* in one tick: what a softirq may take, some tenths of a millisecond */

/* A walk over the slots. */
struct walk {
	__u32 first;
	__u32 visited;	/* of a walk that may stop early */
	__u32 found;
};

static long expire_step(__u32 index, void *context)
{
	struct walk *w = context;
	__u32 slot = w->first + index;
	struct splice_entry *e = bpf_map_lookup_elem(&entries, &slot);
	control_t c;
	__u64 id;

	if (!e || w->found >= SWEEP_REMOVALS_MAX)
		return 1;
	w->visited = index + 1;
	id = e->record.id;
	if (!id)
		return 0;
	if (idle_ms(e, bpf_ktime_get_ns()) < e->live.timeout_ms)
		return 0;
	c = control_read(e);
	if (!entry_remove(e, slot, id, true))
		return 0;
	count(SPLICE_CNT_EXPIRED);
	if (control_standby(c) && !control_finished(c))
		count(SPLICE_CNT_STANDBY_EXPIRED);
	w->found++;
	return 0;
}

/*
 * One timer for the whole table: a timer in every element runs out of memory, and one walk over a
 * million elements would hold a softirq for too long. A tick visits as many slots as bring it round
 * once in sweep_ms, and removes so few that nobody notices; where more have expired it comes back
 * sooner. It runs on with no process alive, as long as the map is pinned.
 */
static int sweep_tick(void *map, __u32 *key, struct sweep_state *state)
{
	struct splice_tunables *t = get_tunables();
	struct walk w = { .first = state->cursor };
	__u32 next_ms = SWEEP_TICK_MS;
	__u64 slots;

	(void)map;
	(void)key;
	if (!t || !t->sweep_ms)
		return 0;
	if (!t->frozen) {
		slots = (__u64)t->table_size * SWEEP_TICK_MS / t->sweep_ms + 1;
		if (slots > SWEEP_SLOTS_MAX)
			slots = SWEEP_SLOTS_MAX;
		bpf_loop(slots, expire_step, &w, 0);
		if (w.found >= SWEEP_REMOVALS_MAX)
			next_ms = SWEEP_HASTE_MS;
		state->cursor = w.first + w.visited < t->table_size ? w.first + w.visited : 0;
	}
	bpf_timer_start(&state->timer, next_ms * NS_PER_MS, 0);
	return 0;
}

#endif
