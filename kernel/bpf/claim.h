/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Records that user space puts in, and the claims by which they are judged: what gives way to them, what is
 * changed where it stands, and what an entry becomes that another node owns from now on.
 */
#ifndef SPLICE_CLAIM_H
#define SPLICE_CLAIM_H

#include "track.h"

/* The stronger claim: higher (epoch, owner), and of one owner the higher generation. */
static __always_inline bool beats(const struct splice_record *a, const struct splice_record *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->owner != b->owner)
		return a->owner > b->owner;
	return a->generation > b->generation;
}

/* The same between two splices; of one owner the later birth, as far as their numbers say. */
static __always_inline bool claims_more(const struct splice_record *a, const struct splice_record *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	if (a->owner != b->owner)
		return a->owner > b->owner;
	if (a->incarnation != b->incarnation)
		return a->incarnation > b->incarnation;
	return a->id > b->id;
}

/*
 * Between two splices of one address pair the later one is right, since the addresses were free when it was
 * born. Those of one table are numbered; of others the one whose last packet is later lives. The claim says
 * little: a commit raises that of what has long ended like that of all the rest. But one whose socket is open
 * here is alive whatever a record says, and what is held for another node needs the stronger claim too.
 */
static __always_inline bool displaces(const struct splice_record *r, struct splice_entry *e)
{
	control_t c = control_read(e);
	__u64 idle;

	if (control_flags(c) & FLAGS_SOCKET)
		return false;
	if (control_finished(c))
		return true;
	if (r->flags & SPLICE_F_STANDBY && !control_standby(c))
		return claims_more(r, &e->record);
	if (same_splice(r, &e->record))
		return r->id > e->record.id;
	if (e->live.shortened && !e->live.unproven)
		return true;	/* its last packet is not when it seems to have been */
	idle = idle_ms(e, bpf_ktime_get_ns());
	return r->idle_ms != idle ? r->idle_ms < idle : claims_more(r, &e->record);
}

static __always_inline bool record_valid(const struct splice_record *r)
{
	return r->version == SPLICE_RECORD_VERSION && r->id && r->state[0] <= SPLICE_TIMEWAIT &&
	       r->state[1] <= SPLICE_TIMEWAIT && r->state[0] >= SPLICE_SPLICED &&
	       r->state[1] >= SPLICE_SPLICED && !(r->flags & FLAGS_SOCKET);
}

/* Whether the record may have this tuple: nothing is there, or what has the weaker claim. */
static __noinline __u32 judge_claim(const struct splice_record *r, __u32 leg)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &r->tuple[leg & 1]);
	struct splice_entry *e = ref ? entry_of(ref) : NULL;

	if (!e)
		return SPLICE_OK;
	if (e->record.id == r->id && same_splice(&e->record, r))
		return beats(r, &e->record) && control_replicable(control_read(e)) ? SPLICE_OK : SPLICE_EXISTS;
	return displaces(r, e) ? SPLICE_OK : SPLICE_TUPLE_TAKEN;
}

/* Take away what has the weaker claim. Of another splice it is the end, which others have to hear of. */
static __noinline void make_room(const struct splice_record *r, __u32 leg)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &r->tuple[leg & 1]);
	struct splice_entry *e = ref ? entry_of(ref) : NULL;

	if (e)
		entry_remove(e, ref->slot, ref->id, ref->id != r->id || !same_splice(&e->record, r));
}

static __always_inline __u32 limit_ms(__u64 ms)
{
	return ms > 0xffffffff ? 0xffffffff : ms;
}

/* Another machine's clock means nothing here: only what is left and how long it was idle. */
static __always_inline void stamp_entry(struct splice_entry *e, const struct splice_record *r)
{
	e->live.last_seen_ns = bpf_ktime_get_ns() - (__u64)r->idle_ms * NS_PER_MS;
	if (r->flags & SPLICE_F_STANDBY) {
		e->live.timeout_ms = state_timeout(control_read(e));
		return;
	}
	e->live.timeout_ms = limit_ms((__u64)r->idle_ms + r->remaining_ms);
	e->live.shortened = 1;
}

/* All but the id, which makes an entry visible. */
static __always_inline void fill_entry(struct splice_entry *e, const struct splice_record *r)
{
	__builtin_memcpy((__u8 *)&e->record + 8, (const __u8 *)r + 8, sizeof(e->record) - 8);
	stamp_entry(e, r);
	e->live.copied = 3;
	e->live.unproven = 1;
	e->live.changed = 1;
}

static __always_inline __u32 inserted(struct splice_entry *e, const struct splice_record *r, bool events)
{
	if (r->flags & SPLICE_F_STANDBY) {
		count(SPLICE_CNT_STANDBY);
		return SPLICE_OK;
	}
	count(SPLICE_CNT_INSERTED);
	if (events)
		emit_event(e, SPLICE_EVENT_NEW, r->id, control_read(e));
	return SPLICE_OK;
}

static __always_inline bool same_tuple(const struct splice_tuple *a, const struct splice_tuple *b)
{
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;
	__u32 differs = 0;

	_Pragma("unroll") for (int i = 0; i < sizeof(*a) / 4; i++)
		differs |= x[i] ^ y[i];
	return !differs;
}

/* What stands on the record's tuples, when it is the same splice, whoever owns it. */
static __always_inline struct splice_entry *known_entry(const struct splice_record *r)
{
	struct splice_leg_ref *ref = bpf_map_lookup_elem(&legs, &r->tuple[0]);
	struct splice_entry *e = ref ? entry_of(ref) : NULL;

	if (!e || e->record.id != r->id || !same_splice(&e->record, r) ||
	    !same_tuple(&e->record.tuple[1], &r->tuple[1]))
		return NULL;
	return e;
}

/*
 * The word of an entry of which somebody with the stronger claim says `said`. What packets have brought here
 * is not forgotten: FINs stay, and what a reset has torn down does not come to life again. Where the splice is
 * this node's from now on, such a word is one that nobody has heard yet.
 */
static __always_inline control_t control_said(control_t c, control_t said)
{
	__u16 flags = control_flags(said) | (control_flags(c) & (FLAGS_FIN | FLAGS_FINACK));
	__u32 generation = (__u32)said + !control_standby(said);

	if (control_torn(c))
		return control_make(generation, flags, SPLICE_CLOSE, SPLICE_CLOSE);
	return flags == control_flags(said) ? said : control_active(generation, flags);
}

/* Of what an entry was told and what it has seen, the later packet counts. */
static __always_inline void stamp_known(struct splice_entry *e, const struct splice_record *r, control_t c)
{
	struct splice_tunables *t = get_tunables();
	__u64 now = bpf_ktime_get_ns(), idle = idle_ms(e, now);
	control_t next = control_read(e);
	bool long_ago = seen_long_ago(e, c);

	if (!t || control_torn(next))
		return;
	if (idle >= t->timeout_ms[SPLICE_TIMEOUT_PROBE] || long_ago)
		e->live.unproven = 1;
	if (r->idle_ms < idle) {	/* elsewhere the flow has gone on */
		idle = r->idle_ms;
		e->live.last_seen_ns = now - idle * NS_PER_MS;
		if (long_ago)
			begin_anew(e);
		else
			forget_seen(e);
	}
	if (control_standby(c) && e->live.shortened && !control_finished(next))
		return;	/* a SYN has asked for its addresses */
	e->live.probes = 0;
	e->live.shortened = 0;
	e->live.timeout_ms = state_timeout(next);
	if (control_standby(next) || !e->live.unproven)
		return;
	e->live.timeout_ms = limit_ms(idle + r->remaining_ms);
	e->live.shortened = 1;
}

static __always_inline void count_known(control_t c, control_t next)
{
	if (control_standby(c) && !control_standby(next))
		count(SPLICE_CNT_STANDBY_TAKEN);
	if (!control_standby(c) && control_standby(next))
		count(SPLICE_CNT_DEMOTED);
}

/*
 * Somebody with the stronger claim says something newer of a splice that is in the table; or it becomes this
 * node's own, or another one's. It is not missing for a moment.
 */
static __noinline __u32 update_known(struct splice_entry *e, const struct splice_record *r, bool events)
{
	control_t said = *(const control_t *)&r->generation;

	e->record.epoch = r->epoch;
	e->record.owner = r->owner;
	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e), next = control_said(c, said);

		if (__sync_val_compare_and_swap(control_of(e), c, next) != c)
			continue;
		if (control_finished(c) != control_finished(next))
			count_service(e, control_finished(next) ? -1 : 1);
		e->live.changed = 1;
		if (!control_standby(c) && control_standby(next))
			forget_seen(e);
		stamp_known(e, r, c);
		inserted(e, r, events);
		count_known(c, next);
		if (next == said || control_standby(next))
			return SPLICE_OK;
		emit_event(e, control_torn(next) ? SPLICE_EVENT_DESTROY : SPLICE_EVENT_UPDATE, r->id, next);
		return SPLICE_OK;
	}
	return SPLICE_EXISTS;
}

/* Some tuple of the record is taken, or the table is full: by claims, then. */
static __noinline __u32 insert_contested(const struct splice_record *r, bool events)
{
	struct splice_entry *e;
	__u32 slot, result = judge_claim(r, 0);

	if (result == SPLICE_OK)
		result = judge_claim(r, 1);
	if (result != SPLICE_OK)
		return result;
	e = known_entry(r);
	if (e)
		return update_known(e, r, events);
	make_room(r, 0);
	make_room(r, 1);
	e = entry_claim(&slot);
	if (!e)
		return SPLICE_TABLE_FULL;
	fill_entry(e, r);
	if (entry_publish(e, slot, r->id))
		return SPLICE_TUPLE_TAKEN;
	return inserted(e, r, events);
}

/* Only what is in the table already: what has ended here does not come back. */
static __always_inline __u32 insert_known(const struct splice_record *r, bool events)
{
	struct splice_entry *e = known_entry(r);

	if (!e)
		return SPLICE_NOT_FOUND;
	if (!beats(r, &e->record) || !control_replicable(control_read(e)))
		return SPLICE_EXISTS;
	return update_known(e, r, events);
}

/* As a rule both tuples are free, as was seen a moment ago, and a slot is at hand. */
static __always_inline __u32 insert(const struct splice_record *r, bool free, __u32 op_flags)
{
	bool events = op_flags & SPLICE_OP_EVENTS;
	struct splice_entry *e;
	__u32 slot;

	if (!record_valid(r))
		return SPLICE_INVALID;
	if (op_flags & SPLICE_OP_HELD)
		return insert_known(r, events);
	if (!free || bpf_map_pop_elem(&free_slots, &slot))
		return insert_contested(r, events);
	e = entry_zeroed(&slot);
	if (!e)
		return SPLICE_TABLE_FULL;
	fill_entry(e, r);
	if (entry_publish(e, slot, r->id))
		return insert_contested(r, events);
	return inserted(e, r, events);
}

/*
 * An own entry becomes standby where it stands, and goes on translating. It says nothing of its new owner's
 * generations, so whatever that one says next is newer. Its time is never prolonged by this.
 */
static __noinline __u32 demote(struct splice_entry *e, const struct splice_record *r)
{
	__u64 time = idle_ms(e, bpf_ktime_get_ns()) + r->remaining_ms;

	for (int i = 0; i < 8; i++) {
		control_t c = control_read(e), next = control_announced(c);

		if (!control_replicable(c))
			return SPLICE_EXISTS;
		if (!control_standby(c)) {
			if (e->record.epoch > r->epoch ||
			    (e->record.epoch == r->epoch && e->record.owner >= r->owner))
				return SPLICE_EXISTS;
			next = (next | (__u64)SPLICE_F_STANDBY << 32) >> 32 << 32;
			if (__sync_val_compare_and_swap(control_of(e), c, next) != c)
				continue;
			e->record.epoch = r->epoch;
			e->record.owner = r->owner;
			e->live.unproven = 1;
			e->live.probes = 0;
			e->live.shortened = 0;
			forget_seen(e);
			count(SPLICE_CNT_DEMOTED);
		}
		if (time < e->live.timeout_ms)
			e->live.timeout_ms = time;
		e->live.changed = 1;
		return SPLICE_OK;
	}
	return SPLICE_EXISTS;
}

#endif
