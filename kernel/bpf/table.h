/* SPDX-License-Identifier: GPL-2.0-only */
/* The life of an entry: claimed, found, changed, announced, removed. */
#ifndef SPLICE_TABLE_H
#define SPLICE_TABLE_H

/*
 * The functions below that are not static are so for the verifier: it checks a global function once,
 * by itself, and a static one again on each path that leads to it. With all of them static it went
 * through 650,000 instructions of its 1,000,000 and took 1.3 s; now it is 21,000 (Linux 6.18, clang
 * 14). In exchange they must look at their pointers, which may be NULL for all that it knows.
 */

#include "maps.h"

/*
 * The control word, as it lies in the record (little-endian):
 *
 *  63      56 55      48 47             32 31                             0
 * +----------+----------+-----------------+--------------------------------+
 * | state[1] | state[0] |      flags      |           generation           |
 * +----------+----------+-----------------+--------------------------------+
 */
typedef __u64 control_t;

#define RECLAIM_SLOTS 512	/* looked at for one that has ended, when the table is full */

#define FLAGS_OPEN (SPLICE_F_OPEN0 | SPLICE_F_OPEN1)
#define FLAGS_FIN (SPLICE_F_FIN0 | SPLICE_F_FIN1)
#define FLAGS_FINACK (SPLICE_F_FINACK0 | SPLICE_F_FINACK1)
#define FLAGS_ACKED (SPLICE_F_ACKED0 | SPLICE_F_ACKED1)
#define FLAGS_DEFER (SPLICE_F_DEFER0 | SPLICE_F_DEFER1)
#define FLAGS_SOCKET (FLAGS_OPEN | FLAGS_DEFER)	/* a local socket is still there */
#define OPEN_FLAG(leg) (SPLICE_F_OPEN0 << (leg))
#define DEFER_FLAG(leg) (SPLICE_F_DEFER0 << (leg))
#define ACKED_FLAG(leg) (SPLICE_F_ACKED0 << (leg))
#define FIN_FLAG(direction) (SPLICE_F_FIN0 << (direction))
#define FINACK_FLAG(direction) (SPLICE_F_FINACK0 << (direction))

static __always_inline __u64 *control_of(struct splice_entry *e)
{
	return (__u64 *)&e->record.generation;
}

static __always_inline control_t control_read(struct splice_entry *e)
{
	return *(volatile __u64 *)control_of(e);
}

static __always_inline control_t control_make(__u32 generation, __u16 flags, __u8 s0, __u8 s1)
{
	return generation | (__u64)flags << 32 | (__u64)s0 << 48 | (__u64)s1 << 56;
}

static __always_inline __u16 control_flags(control_t c)
{
	return c >> 32;
}

static __always_inline __u8 control_state(control_t c, __u32 leg)
{
	return leg ? c >> 56 : (c >> 48) & 0xff;
}

static __always_inline bool control_is(control_t c, __u8 state)
{
	return control_state(c, 0) == state && control_state(c, 1) == state;
}

/* No local socket is needed: the record can live, and is announced, on other nodes. */
static __always_inline bool control_replicable(control_t c)
{
	return !(control_flags(c) & FLAGS_OPEN);
}

/* Held for the node that owns it. */
static __always_inline bool control_standby(control_t c)
{
	return control_flags(c) & SPLICE_F_STANDBY;
}

/* Torn down by RST: still translated for a while, but gives way to a new connection. */
static __always_inline bool control_torn(control_t c)
{
	return control_is(c, SPLICE_CLOSE) && control_replicable(c);
}

static __always_inline bool control_finished(control_t c)
{
	return control_torn(c) || control_is(c, SPLICE_TIMEWAIT);
}

/* State of one leg of an active splice, from what has happened on it. */
static __always_inline __u8 leg_state(__u16 flags, __u32 leg)
{
	__u32 towards = 1 - leg;	/* the direction that leaves on this leg */

	if (flags & (OPEN_FLAG(leg) | DEFER_FLAG(leg)))
		return SPLICE_PRE_SPLICED;
	if (flags & FINACK_FLAG(towards))
		return SPLICE_SHUTDOWN;
	if (flags & FIN_FLAG(towards))
		return SPLICE_FIN_RELAYED;
	return SPLICE_SPLICED;
}

/* The word of an active splice. */
static __always_inline control_t control_active(__u32 generation, __u16 flags)
{
	__u8 s0 = leg_state(flags, 0), s1 = leg_state(flags, 1);

	if (s0 == SPLICE_SHUTDOWN && s1 == SPLICE_SHUTDOWN)
		s0 = s1 = SPLICE_TIMEWAIT;
	return control_make(generation, flags, s0, s1);
}

/* The word that follows c when the flags of an active splice become these. */
static __always_inline control_t control_next(control_t c, __u16 flags)
{
	return control_active((__u32)c + 1, flags);
}

/* The word as other nodes have it: that the commit waits for them is nothing they need to know. */
static __always_inline control_t control_announced(control_t c)
{
	__u16 flags = control_flags(c);

	return flags & FLAGS_DEFER ? control_active((__u32)c, flags & ~FLAGS_DEFER) : c;
}

static __always_inline __u32 state_timeout(control_t c)
{
	struct splice_tunables *t = get_tunables();
	__u16 flags = control_flags(c);
	__u32 which;

	if (!t)
		return 0;
	if (control_standby(c) && !control_finished(c))	/* its owner says when it ends */
		return t->standby_ms ? t->standby_ms : 0xffffffff;
	if (control_is(c, SPLICE_CLOSE))
		which = flags & FLAGS_OPEN ? SPLICE_TIMEOUT_SYNSENT : SPLICE_TIMEOUT_CLOSE;
	else if (flags & FLAGS_OPEN)
		which = SPLICE_TIMEOUT_SYNACK;
	else if (control_is(c, SPLICE_TIMEWAIT))
		which = SPLICE_TIMEOUT_TIMEWAIT;
	else if ((flags & FLAGS_FIN) == FLAGS_FIN)
		which = SPLICE_TIMEOUT_LASTACK;
	else if (flags & FLAGS_FIN)
		which = SPLICE_TIMEOUT_FINWAIT;
	else
		which = SPLICE_TIMEOUT_ESTABLISHED;
	return t->timeout_ms[which];
}

/*
 * Milliseconds since the last packet, as of now. A packet on another processor may have come since now was
 * read: its stamp then lies ahead, and the difference must not be taken for an age.
 */
static __always_inline __u64 idle_ms(const struct splice_entry *e, __u64 now)
{
	__s64 idle = now - e->live.last_seen_ns;

	return idle < 0 ? 0 : (__u64)idle / NS_PER_MS;
}

static __always_inline void touch(struct splice_entry *e, __u64 now)
{
	e->live.last_seen_ns = now;
	if (e->live.unproven)
		e->live.unproven = e->live.probes = 0;
	if (e->live.shortened) {
		e->live.shortened = 0;
		e->live.timeout_ms = state_timeout(control_read(e));
	}
}

/*
 * The entry goes in a short while unless traffic shows that it lives. What is left of an entry's time
 * is never prolonged by this, however often it is asked for.
 */
static __always_inline void shorten(struct splice_entry *e, __u64 now, __u32 ms)
{
	__u64 idle = idle_ms(e, now);

	if (idle + ms >= e->live.timeout_ms)
		return;
	e->live.last_seen_ns = now;
	e->live.timeout_ms = ms;
	e->live.shortened = 1;
}

/* Milliseconds since the last packet, and until expiry. */
static __always_inline void render_times(struct splice_record *r, struct splice_entry *e, __u64 now)
{
	__u64 idle = idle_ms(e, now);
	__u32 timeout = e->live.timeout_ms;

	r->idle_ms = idle > 0xffffffff ? 0xffffffff : idle;
	r->remaining_ms = idle < timeout ? timeout - idle : 0;
}

static __noinline void emit_event(struct splice_entry *e, __u32 type, __u64 id, control_t c)
{
	__u32 key = SPLICE_CNT_EVENTS_LOST;
	__u64 *lost = bpf_map_lookup_elem(&counters, &key);
	struct splice_event *event;

	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		if (lost)
			*lost += 1;
		return;
	}
	event->type = type;
	event->lost = lost ? *lost : 0;
	__builtin_memcpy(&event->record, &e->record, sizeof(event->record));
	event->record.id = id;
	*(__u64 *)&event->record.generation = control_announced(c);
	render_times(&event->record, e, bpf_ktime_get_ns());
	bpf_ringbuf_submit(event, 0);
	count(SPLICE_CNT_EVENTS);
}

static __noinline void count_service(struct splice_entry *e, __s32 by)
{
	struct splice_service s;
	__u32 *live, zero = 0;

	__builtin_memcpy(s.vaddr, e->record.tuple[0].daddr, 16);
	__builtin_memcpy(s.raddr, e->record.tuple[1].saddr, 16);
	s.vport = e->record.tuple[0].dport;
	s.rport = e->record.tuple[1].sport;
	live = bpf_map_lookup_elem(&services, &s);
	if (!live) {
		bpf_map_update_elem(&services, &s, &zero, BPF_NOEXIST);
		live = bpf_map_lookup_elem(&services, &s);
	}
	if (live)
		__sync_fetch_and_add(live, by);
}

/*
 * Replace the control word if it is still c. The caller computed next from c; on failure it reads
 * again. On success the timeout follows the state, and the change is announced where others may know
 * the splice.
 */
__noinline bool control_change(struct splice_entry *e, control_t c, control_t next)
{
	__u64 id;

	if (!e)
		return false;
	id = e->record.id;
	if (control_standby(next))
		next = (next >> 32 << 32) | (__u32)c;
	if (__sync_val_compare_and_swap(control_of(e), c, next) != c)
		return false;
	e->live.changed = 1;
	e->live.timeout_ms = state_timeout(next);
	e->live.shortened = 0;
	if (debugging(DEBUG_STATES))
		bpf_printk("splice %llu: states and flags %x, generation %u", id,
			   (__u32)(next >> 32), (__u32)next);
	if (control_finished(next) && !control_finished(c))
		count_service(e, -1);
	if (!id || !control_replicable(next))
		return true;
	if (control_torn(next)) {
		if (control_replicable(c))
			emit_event(e, SPLICE_EVENT_DESTROY, id, next);
	} else if (control_standby(next)) {
		return true;
	} else if (!control_replicable(c)) {
		count(SPLICE_CNT_COMMITTED);
		emit_event(e, SPLICE_EVENT_NEW, id, next);
	} else {
		emit_event(e, SPLICE_EVENT_UPDATE, id, next);
	}
	return true;
}

/* Set flags of an active splice (bounded retries: another CPU may be changing it too). */
__noinline bool control_add_flags(struct splice_entry *e, __u16 flags)
{
	if (!e)
		return false;
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e);

		if (control_state(c, 0) < SPLICE_PRE_SPLICED ||
		    (control_flags(c) & flags) == flags)
			return true;
		/* one that is closing has nothing to wait for */
		if (control_change(e, c, control_next(c, (control_flags(c) & ~FLAGS_DEFER) | flags)))
			return true;
	}
	return false;
}

/* Another node has the splice, or nobody waits for that any more. Nothing that was announced changes. */
__noinline bool control_confirm(struct splice_entry *e)
{
	if (!e)
		return false;
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e);

		if (!(control_flags(c) & FLAGS_DEFER))
			return true;
		if (__sync_val_compare_and_swap(control_of(e), c, control_announced(c)) != c)
			continue;
		e->live.changed = 1;
		return true;
	}
	return false;
}

/* A believed reset ends the splice, whatever another CPU is changing meanwhile (bounded retries). */
__noinline bool control_tear(struct splice_entry *e)
{
	if (!e)
		return false;
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e);

		if (control_finished(c))
			return true;
		if (control_change(e, c, control_make((__u32)c + 1, control_flags(c) & ~FLAGS_SOCKET,
						      SPLICE_CLOSE, SPLICE_CLOSE)))
			return true;
	}
	return false;
}

static __always_inline struct splice_entry *entry_of(const struct splice_leg_ref *ref)
{
	__u32 slot = ref->slot;
	struct splice_entry *e = bpf_map_lookup_elem(&entries, &slot);

	return e && e->record.id == ref->id ? e : NULL;
}

static __always_inline void unlink_leg(struct splice_entry *e, __u32 leg, __u64 id)
{
	struct splice_tuple key = e->record.tuple[leg];	/* on the stack, for verifiers before 6.2 */
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &key);

	if (ref && ref->id == id)
		bpf_map_delete_elem(&legs, &key);
}

/*
 * The others have to hear of this end. What is held for another owner ends in silence, unless packets have
 * come for it here: then this node may be about to take it over, and must not raise it again.
 */
static __always_inline bool end_is_told(struct splice_entry *e, control_t c)
{
	if (!control_replicable(c) || control_torn(c))
		return false;
	return !control_standby(c) || !e->live.unproven || e->live.shortened;
}

/* Take the entry out if it is still the splice id. Returns false when somebody else already did. */
__noinline bool entry_remove(struct splice_entry *e, __u32 slot, __u64 id, bool events)
{
	control_t c;

	if (!e || !id)
		return false;
	c = control_read(e);
	if (__sync_val_compare_and_swap(&e->record.id, id, 0) != id)
		return false;
	unlink_leg(e, 0, id);
	unlink_leg(e, 1, id);
	if (!control_finished(c))
		count_service(e, -1);
	if (events && end_is_told(e, c))
		emit_event(e, SPLICE_EVENT_DESTROY, id,
			   control_make((__u32)c + 1, control_flags(c), control_state(c, 0),
					control_state(c, 1)));
	count(SPLICE_CNT_DESTROYED);
	bpf_map_push_elem(&free_slots, &slot, 0);
	return true;
}

/*
 * Slots come round in the order in which they were given back, so the one that the hand finds first
 * has been in use for long. Read and written without a lock: two that look at once may look at the
 * same slots, and only one of them gets each.
 */
static __u32 reclaim_hand;

static long reclaim_step(__u32 index, void *context)
{
	__u32 slot = reclaim_hand;
	struct splice_entry *e = bpf_map_lookup_elem(&entries, &slot);
	__u64 id;

	(void)index;
	(void)context;
	reclaim_hand = e ? slot + 1 : 0;
	id = e ? e->record.id : 0;
	if (!id || !control_finished(control_read(e)) || !entry_remove(e, slot, id, true))
		return 0;
	count(SPLICE_CNT_RECLAIMED);
	return 1;
}

static __always_inline struct splice_entry *entry_zeroed(__u32 *slot)
{
	struct splice_entry *e = bpf_map_lookup_elem(&entries, slot);

	if (e)
		__builtin_memset(&e->live, 0, sizeof(e->live));
	return e;
}

/*
 * A slot nobody uses, zeroed. In a full table a splice that has ended gives way before its time: it
 * only waits for late packets, as a socket does in TIME_WAIT. NULL (counted) when none is found.
 */
static __always_inline struct splice_entry *entry_claim(__u32 *slot)
{
	if (bpf_map_pop_elem(&free_slots, slot)) {
		bpf_loop(RECLAIM_SLOTS, reclaim_step, NULL, 0);
		if (bpf_map_pop_elem(&free_slots, slot)) {
			count(SPLICE_CNT_TABLE_FULL);
			return NULL;
		}
	}
	return entry_zeroed(slot);
}

/*
 * Make a filled entry visible: its id first, then its two tuples. If a tuple is taken everything is
 * undone. Returns 0 or ERRNO_EXIST.
 */
static __always_inline int entry_publish(struct splice_entry *e, __u32 slot, __u64 id)
{
	struct splice_leg_ref ref = { .id = id, .slot = slot, .leg = 0 };

	__sync_val_compare_and_swap(&e->record.id, 0, id);
	if (bpf_map_update_elem(&legs, &e->record.tuple[0], &ref, BPF_NOEXIST))
		goto undo;
	ref.leg = 1;
	if (bpf_map_update_elem(&legs, &e->record.tuple[1], &ref, BPF_NOEXIST)) {
		bpf_map_delete_elem(&legs, &e->record.tuple[0]);
		goto undo;
	}
	if (!control_finished(control_read(e)))
		count_service(e, 1);
	return 0;
undo:
	__sync_val_compare_and_swap(&e->record.id, id, 0);
	bpf_map_push_elem(&free_slots, &slot, 0);
	return ERRNO_EXIST;
}

#endif
