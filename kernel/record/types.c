// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* One variable of each shared type, so that the compiled object describes them all (BTF). */
#include <linux/types.h>
#include "record.h"

struct splice_mailbox mailbox;
struct splice_batch batch;
struct splice_entry entry;
struct splice_leg_ref leg_ref;
struct splice_event event;
struct splice_service service;
struct splice_tunables tunables;
struct splice_call call;
struct splice_snapshot snapshot;
struct splice_align align;
enum splice_state state;
enum splice_flag flag;
enum splice_option option;
enum splice_event_type event_type;
enum splice_op op;
enum splice_op_flag op_flag;
enum splice_look look;
enum splice_op_result op_result;
enum splice_timeout timeout;
enum splice_counter counter;
enum splice_trait trait;
enum splice_sockopt sockopt;
