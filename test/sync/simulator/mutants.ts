/**
 * The protocol broken on purpose, one thing at a time: each of these has to be caught by some seed, else
 * the simulator would not see the like of it either.
 */

export interface Mutant {
  /** What is broken. */
  readonly name: string;
  readonly file: string;
  /** Found there once. */
  readonly text: string;
  readonly becomes: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'duplicates are applied again',
    file: 'sync/ftfw.ts',
    text: "return arrival === 'duplicate' ? arrival : undefined;",
    becomes: 'return undefined;',
  },
  {
    name: 'a gap is not noticed',
    file: 'sync/window.ts',
    text: '    this.announce(sequence - 1);\n    this.#next',
    becomes: '    this.#next',
  },
  {
    name: 'acknowledged beyond gaps',
    file: 'sync/window.ts',
    text: 'return this.#missing.length > 0 ? this.#missing[0].from - 1 : this.#next - 1;',
    becomes: 'return this.#next - 1;',
  },
  {
    name: 'what cannot be repaired counts as complete',
    file: 'sync/ftfw.ts',
    text: 'if (!peer.window.giveUp(header.oldest)) return;',
    becomes: 'peer.window.giveUp(header.oldest); if (header.oldest > 0) return;',
  },
  {
    name: 'what was lost for good is followed as if it were not',
    file: 'sync/window.ts',
    text: '      this.#base = to + 1;\n',
    becomes: '',
  },
  {
    name: 'graves are forgotten',
    file: 'sync/ownership.ts',
    text: 'if (peer.window.missingCount > 0) peer.graves.add(key, sequence);',
    becomes: '',
  },
  {
    name: 'a late record replaces a newer one',
    file: 'sync/ownership.ts',
    text: 'return this.#store.sequence(slot) > sequence;',
    becomes: 'return false;',
  },
  {
    name: 'no tombstone for what changed hands',
    file: 'sync/ownership.ts',
    text: 'if (changedHands) this.tombstones.add(key, this.internal.epoch(slot), node);',
    becomes: 'void changedHands;',
  },
  {
    name: 'a tombstone that is heard of is not kept',
    file: 'sync/ownership.ts',
    text: '      this.tombstones.add(key, epoch, owner);\n    }\n    if (slot < 0) return;',
    becomes: '    }\n    if (slot < 0) return;',
  },
  {
    name: 'tombstones are not asked when a peer claims',
    file: 'sync/ownership.ts',
    text: 'if (this.tombstones.covers(key, epoch, peer.node)) {',
    becomes: 'if (this.tombstones.covers(key, epoch, peer.node) && epoch < 0) {',
  },
  {
    name: 'an end under an equal claim, from a third node, is ignored',
    file: 'sync/ownership.ts',
    text: 'if (!its && (epoch === 0 || this.#stronger(slot, epoch, owner))) {',
    becomes: 'if (!its && !(epoch > 0 && this.beats(epoch, owner, slot))) {',
  },
  {
    name: 'a commit does not raise the epoch',
    file: 'sync/commit.ts',
    text: 'this.#ownership.taken = this.#host.epoch();',
    becomes: 'this.#ownership.taken = this.#ownership.epoch;',
  },
  {
    name: 'a commit leaves the owner as it was',
    file: 'sync/commit.ts',
    text: 'view.setUint32(at + RecordOffset.owner, this.#host.node, true);',
    becomes: '',
  },
  {
    name: 'what ends before it is claimed is claimed all the same',
    file: 'sync/ownership.ts',
    text: 'if (slot < 0 || this.internal.holds(slot) || !this.beats(this.taken, node, slot)) return false;',
    becomes: 'return slot < -1;',
  },
  {
    name: 'what the kernel holds for others is read as its own',
    file: 'sync/ownership.ts',
    text: 'return (view.getUint16(at + RecordOffset.flags, true) & Flag.STANDBY) === 0;',
    becomes: 'return true;',
  },
  {
    name: 'what ended before its claim leaves no tombstone',
    file: 'sync/ownership.ts',
    text: '    this.tombstones.add(key, this.taken, node);\n',
    becomes: '',
  },
  {
    name: 'what is lost to a peer does not say to whom',
    file: 'sync/ownership.ts',
    text: '    claim.setUint32(RecordOffset.owner, owner, true);\n',
    becomes: '',
  },
  {
    name: 'a stronger claim does not demote',
    file: 'sync/ownership.ts',
    text: '    if (ours) this.#giveUp(slot, key, epoch, peer.node);\n',
    becomes: '',
  },
  {
    name: 'the weaker claim wins',
    file: 'sync/tombstones.ts',
    text: 'return epochA !== epochB ? epochA > epochB : ownerA > ownerB;',
    becomes: 'return epochA !== epochB ? epochA < epochB : ownerA > ownerB;',
  },
  {
    name: 'nobody answers a weaker claim',
    file: 'sync/ownership.ts',
    text: '      if (ours) this.#host.outbox.record(slot);\n',
    becomes: '',
  },
  {
    name: 'changes are not announced, births are',
    file: 'sync/ownership.ts',
    text: "    if (what === 'inserted' || what === 'updated') this.#host.outbox.record(slot);",
    becomes: "    if (what === 'inserted') this.#host.outbox.record(slot);",
  },
  {
    name: 'the end of a bulk reconciles nothing',
    file: 'sync/members.ts',
    text: '      cache.remove(slot);\n      this.counts.reconciled_records++;',
    becomes: '      this.counts.reconciled_records++;',
  },
  {
    name: 'the end of a bulk counts with gaps before it',
    file: 'sync/members.ts',
    text: 'if (!pendingEnd || peer.window.complete < pendingEnd.end) return;',
    becomes: 'if (!pendingEnd) return;',
  },
  {
    name: 'a bulk drops the first that it has said',
    file: 'sync/members.ts',
    text: 'if (cache.stream(slot) === stream && cache.sequence(slot) >= first) continue;',
    becomes: 'if (cache.stream(slot) === stream && cache.sequence(slot) > first) continue;',
  },
  {
    name: 'an old incarnation is heard',
    file: 'sync/members.ts',
    text: 'if (peer && header.incarnation < peer.incarnation) {',
    becomes: 'if (peer && header.incarnation < 0) {',
  },
  {
    name: 'a restarted sender goes on in its old stream',
    file: 'sync/peer.ts',
    text: '    this.window = new ReceiveWindow(base);\n',
    becomes: '',
  },
  {
    name: 'acknowledgements outlive the peer that gave them',
    file: 'sync/peer.ts',
    text: '    this.acked = 0;\n    this.holdsAll = false;',
    becomes: '',
  },
  {
    name: 'a report is believed whoever it is meant for',
    file: 'sync/inbox.ts',
    text: 'if (header.receiver !== 0 && header.receiver !== node) {',
    becomes: 'if (header.receiver !== 0 && header.receiver === 1) {',
  },
  {
    name: 'a report meant for an earlier start is believed',
    file: 'sync/inbox.ts',
    text: "if (meant !== 0 && meant !== incarnation()) return 'other_start';",
    becomes: 'void meant; void incarnation;',
  },
  {
    name: 'no report acknowledges too much for belief',
    file: 'sync/report.ts',
    text: "  if (header.ack > outbox.sequence) return 'ack_beyond';\n",
    becomes: '  void outbox;\n',
  },
  {
    name: 'a peer holds all as soon as it reports',
    file: 'sync/report.ts',
    text: 'peer.holdsAll = (header.flags & HeaderFlag.HOLDS_ALL) !== 0;',
    becomes: 'peer.holdsAll = true;',
  },
  {
    name: 'the resend queue gives up without saying so',
    file: 'sync/ftfw.ts',
    text: '    return this.#queue.oldest;\n  }\n\n  keep',
    becomes: '    return 1;\n  }\n\n  keep',
  },
  {
    name: 'what one peer has acknowledged is forgotten for all',
    file: 'sync/ftfw.ts',
    text: 'acked = Math.min(acked, peer.acked);',
    becomes:
      'acked = acked === Number.POSITIVE_INFINITY ? peer.acked : Math.max(acked, peer.acked);',
  },
  {
    name: 'a repair stands in for nothing',
    file: 'sync/resend.ts',
    text: '    for (const old of repairs) if (old >= this.#oldest) this.#standIn[old % this.#slots] = sequence;',
    becomes: '',
  },
  {
    name: 'a repair is believed before it is whole',
    file: 'sync/outbox.ts',
    text: 'if (this.#repairFrom !== this.#sequence + 1) this.#continued = true;',
    becomes: '',
  },
  {
    name: 'a record that finds no room counts as held',
    file: 'sync/report.ts',
    text: 'Math.max(window.base, Math.max(refusedAt, lackedAt) + 1)',
    becomes: 'Math.max(window.base, refusedAt * 0)',
  },
  {
    name: 'a full cache is in sync',
    file: 'sync/members.ts',
    text: '    peer.askAgainAt = this.#host.options.clock.now() + peer.askAgainMs;\n    this.#fallOut(peer);',
    becomes: '    peer.askAgainAt = this.#host.options.clock.now() + peer.askAgainMs;',
  },
  {
    name: 'what a peer that was dead has missed is not owed',
    file: 'sync/ftfw.ts',
    text: 'const forgotten = peer.hasReported && peer.acked + 1 < this.#queue.oldest;',
    becomes: 'const forgotten = peer.acked < 0;',
  },
  {
    name: 'the epoch begins anew with the daemon',
    file: 'sync/ownership.ts',
    text: '    this.#epoch = host.epoch;\n',
    becomes: '',
  },
  {
    name: 'the kernel’s ends are announced where no packets arrive',
    file: 'sync/ownership.ts',
    text: 'withdraw && this.#resyncing ? next(0)',
    becomes: 'this.#resyncing ? next(0)',
  },
  {
    name: 'a damaged datagram is taken',
    file: 'sync/wire/parse.ts',
    text: "return header.nonce === checksum(bytes) ? undefined : 'crc';",
    becomes: 'return checksum(bytes) < 0 ? undefined : undefined;',
  },
  {
    name: 'a challenge need not be answered',
    file: 'sync/seal/seal.ts',
    text: 'if (!session.proven && !handshake) {',
    becomes: 'if (!session.proven && !handshake && counter < 0) {',
  },
  {
    name: 'a sealed datagram may come again',
    file: 'sync/seal/window.ts',
    text: 'return (this.#seen[wordOf(counter) % WORDS] & bitOf(counter)) === 0;',
    becomes: 'return true;',
  },
  {
    name: 'a claim that was refused for one that is gone is not asked for again',
    file: 'sync/store.ts',
    text: '    this.#uncovered ||= this.marked(slot, Mark.CONTESTED);\n',
    becomes: '',
  },
  {
    name: 'who is heard again is not asked what it has',
    file: 'sync/probe.ts',
    text: 'if (!this.#timer) this.#arm();\n  }\n\n  /** Somebody has told',
    becomes: '}\n\n  /** Somebody has told',
  },
  {
    name: 'ALARM: what a peer gave up counts as held',
    file: 'sync/alarm.ts',
    text: 'if (peer.followedFrom !== followed) this.#lacks.set(peer, 0);',
    becomes: 'void followed;',
  },
  {
    name: 'ALARM: what found no room counts as held when the round is over',
    file: 'sync/alarm.ts',
    text: '    peer.lackedAt = Math.max(peer.lackedAt, peer.refusedAt);\n',
    becomes: '',
  },
  {
    name: 'NOTRACK: a gap is no reason to ask',
    file: 'sync/notrack.ts',
    text: 'if (!this.stopped) this.host.askForBulk(peer);',
    becomes: '',
  },
  {
    name: 'a peer that is heard again stays dead',
    file: 'sync/members.ts',
    text: '    if (!peer.alive && !(header.flags & HeaderFlag.LEAVING)) this.#revive(peer);\n',
    becomes: '',
  },
  {
    name: 'a node says that it has yielded, and answers',
    file: 'sync/fence.ts',
    text: '    this.#host.yield(peer, theirs.epoch);\n',
    becomes: '    void peer;\n',
  },
  {
    name: 'a node yields to a question only, and not to what a HELLO says',
    file: 'sync/fence.ts',
    text: 'if (place.stands) this.#meets(',
    becomes: 'if (place.stands && asks) this.#meets(',
  },
  {
    name: 'who has yielded never stands again',
    file: 'sync/fence.ts',
    text: '    this.#called = true;\n    unclaimed();',
    becomes: '    this.#called = true;\n    void unclaimed;',
  },
  {
    name: 'who has yielded stands again whoever else does',
    file: 'sync/fence.ts',
    text: '    for (const peer of live()) if (peer.place?.stands) return;\n',
    becomes: '    void live;\n',
  },
  {
    name: 'who stands is not said again in each HELLO',
    file: 'sync/fence.ts',
    text: '    if (this.#host.speaks) writeRole(writer, this.#place());',
    becomes: '    if (this.#claiming) writeRole(writer, this.#place());',
  },
];
