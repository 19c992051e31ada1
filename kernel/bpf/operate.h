/* SPDX-License-Identifier: GPL-2.0-only */
/* Work on the table in bulk, asked for by user space through the mailbox; and the sweep. */
#ifndef SPLICE_OPERATE_H
#define SPLICE_OPERATE_H

#include "table.h"

#define SWEEP_TICK_MS 20
#define SWEEP_SLOTS_MAX 8192
#define INIT_SLOTS 4096		/* free slots listed by one call */
#define CLOCK_MONOTONIC 1

static __always_inline struct splice_mailbox *get_mailbox(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mailbox, &zero);
}

/* The stronger claim: higher (epoch, owner), and of one owner the higher generation. */
static __always_inline bool beats(const struct splice_record *a, const struct splice_record *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->owner != b->owner)
		return a->owner > b->owner;
	return a->generation > b->generation;
}

/*
 * Between two splices that claim one address pair: of one owner the later birth, since the addresses
 * were free when it was born. One whose sockets are open here is alive whatever a record says.
 */
static __always_inline bool displaces(const struct splice_record *a, const struct splice_record *b)
{
	if (b->flags & FLAGS_OPEN)
		return false;
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->owner != b->owner)
		return a->owner > b->owner;
	if (a->incarnation != b->incarnation)
		return a->incarnation > b->incarnation;
	return a->id > b->id;
}

static __always_inline bool same_splice(const struct splice_record *a, const struct splice_record *b)
{
	return a->origin == b->origin && a->incarnation == b->incarnation;
}

static __always_inline bool record_valid(const struct splice_record *r)
{
	return r->version == SPLICE_RECORD_VERSION && r->id && r->state[0] <= SPLICE_TIMEWAIT &&
	       r->state[1] <= SPLICE_TIMEWAIT && r->state[0] >= SPLICE_SPLICED &&
	       r->state[1] >= SPLICE_SPLICED && !(r->flags & (FLAGS_OPEN | SPLICE_F_STANDBY));
}

/* Make room on a tuple of the record, if what is there has the weaker claim. */
static __noinline __u32 give_way(struct splice_batch_item *item, __u32 leg)
{
	struct splice_record *r = &item->record;
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &r->tuple[leg & 1]);
	struct splice_entry *e;

	if (!ref)
		return SPLICE_OK;
	e = entry_of(ref);
	if (!e)
		return SPLICE_OK;
	if (e->record.id == r->id && same_splice(&e->record, r)) {
		if (!beats(r, &e->record))
			return SPLICE_EXISTS;
	} else if (!control_finished(control_read(e)) && !displaces(r, &e->record)) {
		return SPLICE_TUPLE_TAKEN;
	}
	entry_remove(e, ref->slot, ref->id, false);
	return SPLICE_OK;
}

static __always_inline __u32 insert(struct splice_batch_item *item, bool events)
{
	struct splice_entry *e;
	__u32 slot, result;
	__u64 id = item->record.id;

	if (!record_valid(&item->record))
		return SPLICE_INVALID;
	result = give_way(item, 0);
	if (result == SPLICE_OK)
		result = give_way(item, 1);
	if (result != SPLICE_OK)
		return result;
	e = entry_claim(&slot);
	if (!e)
		return SPLICE_TABLE_FULL;
	item->slot = slot;
	__builtin_memcpy((__u8 *)&e->record + 8, (__u8 *)&item->record + 8, sizeof(e->record) - 8);
	/* another machine's clock means nothing here: only what is left and how long it was idle */
	e->live.last_seen_ns = bpf_ktime_get_ns() - (__u64)item->record.idle_ms * NS_PER_MS;
	e->live.timeout_ms = item->record.idle_ms + item->record.remaining_ms;
	if (e->live.timeout_ms < item->record.idle_ms)
		e->live.timeout_ms = 0xffffffff;
	e->live.shortened = 1;
	e->live.copied = 3;
	if (entry_publish(e, slot, id))
		return SPLICE_TUPLE_TAKEN;
	count(SPLICE_CNT_INSERTED);
	if (events)
		emit_event(e, SPLICE_EVENT_NEW, id, control_read(e));
	return SPLICE_OK;
}

static __always_inline __u32 remove_item(struct splice_batch_item *item, bool events)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &item->record.tuple[0]);
	struct splice_entry *e;

	if (!ref || ref->id != item->record.id)
		return SPLICE_NOT_FOUND;
	e = entry_of(ref);
	if (!e || !same_splice(&e->record, &item->record))
		return SPLICE_NOT_FOUND;
	return entry_remove(e, ref->slot, ref->id, events) ? SPLICE_OK : SPLICE_NOT_FOUND;
}

static long item_step(__u32 index, void *context)
{
	struct splice_mailbox *m = get_mailbox();
	struct splice_batch_item *item;
	bool events;

	(void)context;
	if (!m || index >= SPLICE_BATCH_ITEMS)
		return 1;
	item = &m->items[index];
	events = m->flags & SPLICE_OP_EVENTS;
	item->result = m->op == SPLICE_OP_INSERT ? insert(item, events) : remove_item(item, events);
	return 0;
}

/* A walk over the slots. */
struct walk {
	__u32 first;
	__u32 found;
};

/* One slot of DUMP, FLUSH or SHORTEN; the mailbox counts what was found. */
static long slot_step(__u32 index, void *context)
{
	struct splice_mailbox *m = get_mailbox();
	struct walk *w = context;
	__u32 slot = w->first + index;
	struct splice_entry *e = bpf_map_lookup_elem(&entries, &slot);
	__u32 found;
	__u64 id;

	if (!m || !e)
		return 1;
	found = m->count;
	if (found >= SPLICE_BATCH_ITEMS)
		return 1;
	id = e->record.id;
	if (!id)
		return 0;
	if (m->op == SPLICE_OP_DUMP) {
		struct splice_batch_item *item = &m->items[found];

		__builtin_memcpy(&item->record, &e->record, sizeof(item->record));
		__builtin_memcpy(&item->live, &e->live, sizeof(item->live));
		render_times(&item->record, e, bpf_ktime_get_ns());
		item->slot = slot;
		item->result = SPLICE_OK;
		if (e->record.id != id)
			return 0;
	} else if (m->op == SPLICE_OP_FLUSH) {
		if (m->flags & SPLICE_OP_OWNED && e->record.owner != m->argument)
			return 0;
		if (!entry_remove(e, slot, id, m->flags & SPLICE_OP_EVENTS))
			return 0;
	} else {
		struct splice_record times;

		render_times(&times, e, bpf_ktime_get_ns());
		if (times.remaining_ms <= m->argument)
			return 0;
		shorten(e, bpf_ktime_get_ns(), m->argument);
	}
	m->count = found + 1;
	return 0;
}

static __always_inline void walk_slots(struct splice_mailbox *m, __u32 size)
{
	struct walk w = { .first = m->cursor };

	m->count = 0;
	bpf_loop(SPLICE_BATCH_ITEMS, slot_step, &w, 0);
	m->cursor = w.first + SPLICE_BATCH_ITEMS < size ? w.first + SPLICE_BATCH_ITEMS : 0;
}

static long expire_step(__u32 index, void *context)
{
	struct walk *w = context;
	__u32 slot = w->first + index;
	struct splice_entry *e = bpf_map_lookup_elem(&entries, &slot);
	__u64 id;

	if (!e)
		return 1;	/* the table's end */
	id = e->record.id;
	if (!id)
		return 0;
	if ((bpf_ktime_get_ns() - e->live.last_seen_ns) / NS_PER_MS < e->live.timeout_ms)
		return 0;
	if (entry_remove(e, slot, id, true))
		count(SPLICE_CNT_EXPIRED);
	return 0;
}

/*
 * One timer for the whole table: a timer in every element runs out of memory, and one walk over a
 * million elements would hold a softirq for too long. A tick visits as many slots as bring it round
 * once in sweep_ms. It runs on with no process alive, as long as the map is pinned.
 */
static int sweep_tick(void *map, __u32 *key, struct sweep_state *state)
{
	struct splice_tunables *t = get_tunables();
	struct walk w = { .first = state->cursor };
	__u64 slots;

	(void)map;
	(void)key;
	if (!t || !t->sweep_ms)
		return 0;
	slots = (__u64)t->table_size * SWEEP_TICK_MS / t->sweep_ms + 1;
	if (slots > SWEEP_SLOTS_MAX)
		slots = SWEEP_SLOTS_MAX;
	bpf_loop(slots, expire_step, &w, 0);
	state->cursor = w.first + slots < t->table_size ? w.first + slots : 0;
	bpf_timer_start(&state->timer, SWEEP_TICK_MS * NS_PER_MS, 0);
	return 0;
}

static long free_step(__u32 index, void *context)
{
	struct walk *w = context;
	__u32 slot = w->first + index;

	if (bpf_map_push_elem(&free_slots, &slot, 0))
		return 1;
	w->found++;
	return 0;
}

/* List the free slots, INIT_SLOTS a call; the last call starts the sweep. */
static __always_inline void initialise(struct splice_mailbox *m, __u32 size)
{
	struct walk w = { .first = m->cursor };
	__u32 left = size - m->cursor, zero = 0;
	struct sweep_state *state;

	if (m->cursor >= size)
		left = 0;
	bpf_loop(left < INIT_SLOTS ? left : INIT_SLOTS, free_step, &w, 0);
	m->count = w.found;
	m->cursor = w.first + w.found < size ? w.first + w.found : 0;
	state = bpf_map_lookup_elem(&sweep, &zero);
	if (m->cursor || !state)
		return;
	bpf_timer_init(&state->timer, &sweep, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&state->timer, sweep_tick);
	bpf_timer_start(&state->timer, SWEEP_TICK_MS * NS_PER_MS, 0);
}

static __always_inline int operate(void)
{
	struct splice_mailbox *m = get_mailbox();
	struct splice_tunables *t = get_tunables();

	if (!m || !t)
		return 1;
	switch (m->op) {
	case SPLICE_OP_INIT:
		initialise(m, t->table_size);
		return 0;
	case SPLICE_OP_INSERT:
	case SPLICE_OP_DELETE:
		if (m->count > SPLICE_BATCH_ITEMS)
			return 1;
		bpf_loop(m->count, item_step, NULL, 0);
		return 0;
	case SPLICE_OP_DUMP:
	case SPLICE_OP_FLUSH:
	case SPLICE_OP_SHORTEN:
		walk_slots(m, t->table_size);
		return 0;
	}
	return 1;
}

#endif
