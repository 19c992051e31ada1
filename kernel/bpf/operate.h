/* SPDX-License-Identifier: GPL-2.0-only */
/* Work on the table in bulk, asked for by user space through the mailbox. */
#ifndef SPLICE_OPERATE_H
#define SPLICE_OPERATE_H

#include "adopt.h"
#include "claim.h"
#include "outstanding.h"
#include "sweep.h"

#define INIT_SLOTS 4096		/* free slots listed by one call */
#define FEW_SLOTS 16384	/* looked at by one call that finds few */
#define CLOCK_MONOTONIC 1

_Static_assert((SPLICE_BATCH_ITEMS & (SPLICE_BATCH_ITEMS - 1)) == 0, "an index is kept inside by a mask");

/* So that the maps carry the counters' names: a later version may have them in another order. */
enum splice_counter counter_names __attribute__((used));

static __always_inline struct splice_mailbox *get_mailbox(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&mailbox, &zero);
}

/* DELETE, CONFIRM and DEMOTE: to the entry of this identity. */
static __always_inline __u32 operate_on_record(const struct splice_record *r, __u32 op, __u32 flags)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &r->tuple[0]);
	struct splice_entry *e;
	bool done;

	if (!ref || ref->id != r->id)
		return SPLICE_NOT_FOUND;
	e = entry_of(ref);
	if (!e || !same_splice(&e->record, r))
		return SPLICE_NOT_FOUND;
	if (flags & SPLICE_OP_HELD && !control_standby(control_read(e)))
		return SPLICE_NOT_FOUND;
	if (op == SPLICE_OP_DEMOTE)
		return demote(e, r);
	done = op == SPLICE_OP_CONFIRM ? control_confirm(e) :
					 entry_remove(e, ref->slot, ref->id, flags & SPLICE_OP_EVENTS);
	return done ? SPLICE_OK : SPLICE_NOT_FOUND;
}

/*
 * Look at what the records of a batch will need, before anything is done. In a large table each look-up waits
 * for memory; those that only read wait side by side, what changes the table waits for one after the other.
 */
static long look_step(__u32 index, void *context)
{
	__u32 which = *(__u32 *)context;
	struct splice_batch *b = bpf_map_lookup_elem(&batches, &which);
	struct splice_leg_ref *ref;
	struct splice_record *r;
	struct splice_entry *e;

	if (!b || index >= SPLICE_BATCH_ITEMS)
		return 1;
	r = &b->records[index];
	ref = bpf_map_lookup_elem(&legs, &r->tuple[0]);
	if (!ref) {
		b->results[index] = bpf_map_lookup_elem(&legs, &r->tuple[1]) ? 1 : 0;
		return 0;
	}
	b->results[index] = 1;
	e = entry_of(ref);
	if (e)
		control_read(e);
	return 0;
}

static long record_step(__u32 index, void *context)
{
	__u32 which = *(__u32 *)context;
	struct splice_batch *b = bpf_map_lookup_elem(&batches, &which);
	struct splice_record *r;

	if (!b || index >= SPLICE_BATCH_ITEMS)
		return 1;
	r = &b->records[index];
	b->results[index] = b->op == SPLICE_OP_INSERT ? insert(r, !b->results[index], b->flags) :
							operate_on_record(r, b->op, b->flags);
	return 0;
}

/* The records of one batch. Others may be under way on other processors. */
static __always_inline int operate_batch(__u32 which)
{
	struct splice_batch *b = bpf_map_lookup_elem(&batches, &which);

	if (!b || b->count > SPLICE_BATCH_ITEMS ||
	    (b->op != SPLICE_OP_INSERT && b->op != SPLICE_OP_DELETE && b->op != SPLICE_OP_CONFIRM &&
	     b->op != SPLICE_OP_DEMOTE))
		return 1;
	bpf_loop(b->count, look_step, &which, 0);
	bpf_loop(b->count, record_step, &which, 0);
	__sync_fetch_and_add(&b->done, 1);	/* after the results, on every processor */
	return 0;
}

static long adopt_step(__u32 index, void *context)
{
	struct splice_mailbox *m = get_mailbox();
	struct splice_batch_item *item;

	(void)context;
	if (!m || index >= SPLICE_BATCH_ITEMS)
		return 1;
	item = &m->items[index];
	item->result = adopt(item, m->argument, m->flags & SPLICE_OP_JOIN);
	return 0;
}

/*
 * Whether the copy that was made of an entry may be out of date. Its mark of change goes before it is
 * copied again: a change that comes meanwhile sets it again.
 */
static __always_inline bool to_copy(struct splice_entry *e, __u64 since)
{
	if (e->live.changed) {
		e->live.changed = 0;
		return true;
	}
	return !since || control_flags(control_read(e)) & FLAGS_SOCKET ||
	       (__s64)(e->live.last_seen_ns - since) >= 0;
}

/*
 * An entry of which nobody knows whether its flow still lives, unused here for ms or longer: it came from
 * elsewhere, or was heard last before this node took over and may have ended by way of another one since.
 */
static __always_inline bool to_probe(struct splice_mailbox *m, struct splice_entry *e)
{
	control_t c = control_read(e);

	if (m->flags & SPLICE_OP_STALLED)
		return may_stall(e, c);
	if (!control_replicable(c) || control_finished(c) || control_standby(c))
		return false;
	if (heard_before_takeover(e))
		e->live.unproven = 1;
	return e->live.unproven && idle_ms(e, bpf_ktime_get_ns()) >= m->argument;
}

/* One item of LOOK. */
static long look_at_step(__u32 index, void *context)
{
	struct splice_mailbox *m = get_mailbox();
	struct splice_batch_item *item;
	struct splice_leg_ref *ref;
	struct splice_entry *e;

	(void)context;
	if (!m || index >= SPLICE_BATCH_ITEMS)
		return 1;
	item = &m->items[index];
	ref = bpf_map_lookup_elem(&legs, &item->record.tuple[0]);
	e = ref && ref->id == item->record.id ? entry_of(ref) : NULL;
	if (!e || !same_splice(&e->record, &item->record)) {
		item->result = SPLICE_LOOK_GONE;
		return 0;
	}
	if (m->argument)
		__builtin_memcpy(&item->live, &e->live, sizeof(item->live));
	item->result = look_since(e, &item->live);
	return 0;
}

static __always_inline bool render(struct splice_batch_item *item, struct splice_entry *e,
				   __u32 slot, __u64 id)
{
	__builtin_memcpy(&item->record, &e->record, sizeof(item->record));
	__builtin_memcpy(&item->live, &e->live, sizeof(item->live));
	render_times(&item->record, e, bpf_ktime_get_ns());
	item->slot = slot;
	item->result = SPLICE_OK;
	return e->record.id == id;
}

/* Count a probe that is about to be sent. False when enough went unanswered: then the entry goes. */
static __always_inline bool probe(struct splice_mailbox *m, struct splice_entry *e, __u32 slot, __u64 id)
{
	if (m->flags & SPLICE_OP_STALLED)
		return true;
	if (e->live.probes >= SPLICE_PROBES_MAX) {
		if (entry_remove(e, slot, id, true))
			count(SPLICE_CNT_PROBE_EXPIRED);
		return false;
	}
	e->live.probes++;
	count(SPLICE_CNT_PROBED);
	return true;
}

static __always_inline bool to_flush(struct splice_mailbox *m, struct splice_entry *e)
{
	if (m->flags & SPLICE_OP_OWNED && e->record.owner != m->argument)
		return false;
	return !(m->flags & SPLICE_OP_LEFT) || (e->live.mark && e->live.mark != (__u8)m->argument);
}

static __always_inline bool shorten_longer(struct splice_entry *e, __u32 ms)
{
	struct splice_record times;

	render_times(&times, e, bpf_ktime_get_ns());
	if (times.remaining_ms <= ms || control_standby(control_read(e)))
		return false;
	shorten(e, bpf_ktime_get_ns(), ms);
	e->live.changed = 1;
	return true;
}

/* One slot of DUMP, PROBE, BUSY, FLUSH or SHORTEN. Returns whether it counts as found. */
static __always_inline bool operate_on(struct splice_mailbox *m, struct splice_batch_item *item,
				       struct splice_entry *e, __u32 slot, __u64 id)
{
	switch (m->op) {
	case SPLICE_OP_DUMP:
		if (m->flags & SPLICE_OP_RECENT && !to_copy(e, m->since_ns))
			return false;
		if (!render(item, e, slot, id))
			return false;
		if (m->flags & SPLICE_OP_ANNOUNCED) {
			control_t *c = (control_t *)&item->record.generation;

			*c = control_announced(*c);
		}
		return true;
	case SPLICE_OP_PROBE:
		return to_probe(m, e) && probe(m, e, slot, id) && render(item, e, slot, id);
	case SPLICE_OP_BUSY:
		return is_busy(e, m->argument) && render(item, e, slot, id);
	case SPLICE_OP_FLUSH:
		return to_flush(m, e) && entry_remove(e, slot, id, m->flags & SPLICE_OP_EVENTS);
	}
	return shorten_longer(e, m->argument);
}

static long slot_step(__u32 index, void *context)
{
	struct splice_mailbox *m = get_mailbox();
	struct walk *w = context;
	__u32 slot = w->first + index;
	struct splice_entry *e = bpf_map_lookup_elem(&entries, &slot);
	struct splice_batch_item *item;
	__u32 found;
	__u64 id;

	if (!m || !e)
		return 1;
	found = m->count;
	if (found >= SPLICE_BATCH_ITEMS)
		return 1;
	w->visited = index + 1;
	id = e->record.id;
	item = &m->items[BOUND(found, SPLICE_BATCH_ITEMS - 1)];
	asm volatile("" : "+r"(item));	/* 6.1 forgets the bounds of a __u32 on the stack */
	if (id && operate_on(m, item, e, slot, id))
		m->count = found + 1;
	return 0;
}

static __always_inline __u32 slots_a_call(const struct splice_mailbox *m)
{
	return m->op == SPLICE_OP_BUSY || m->flags & (SPLICE_OP_RECENT | SPLICE_OP_STALLED) ? FEW_SLOTS
											    : SPLICE_BATCH_ITEMS;
}

/* Go on from the cursor until the items are full or enough slots have been looked at. */
static __always_inline void walk_slots(struct splice_mailbox *m, __u32 size)
{
	struct walk w = { .first = m->cursor };
	__u32 next;

	m->count = 0;
	bpf_loop(slots_a_call(m), slot_step, &w, 0);
	next = w.first + w.visited;
	m->cursor = next < size && w.visited ? next : 0;
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

/*
 * List the free slots, INIT_SLOTS a call; the last call starts the sweep. A cursor at the table's end
 * asks for nothing else, so that the timer goes on with the sweep of newer programs.
 */
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
	case SPLICE_OP_ADOPT:
		if (m->count > SPLICE_BATCH_ITEMS)
			return 1;
		bpf_loop(m->count, adopt_step, NULL, 0);
		return 0;
	case SPLICE_OP_LOOK:
		if (m->count > SPLICE_BATCH_ITEMS)
			return 1;
		bpf_loop(m->count, look_at_step, NULL, 0);
		return 0;
	case SPLICE_OP_DUMP:
	case SPLICE_OP_PROBE:
	case SPLICE_OP_BUSY:
	case SPLICE_OP_FLUSH:
	case SPLICE_OP_SHORTEN:
		walk_slots(m, t->table_size);
		return 0;
	}
	return 1;
}

#endif
