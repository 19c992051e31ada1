// A handover and a rehearsal in words.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { describeHandover, describeRehearsal } from '../../cli/describe-moves.js';
import type { HandoverResult, RehearsalReport } from '../../daemon/control/protocol.js';

const words = suite('words of a move');

const HANDOVER: HandoverResult = {
  peer: 'lb-b',
  entries: 1204,
  left: { sockets: 0, unacknowledged: 0 },
  took_ms: 52.4,
  steps: { settle_ms: 22, splices_ms: 11.2, let_go_ms: 9.1, addresses_ms: 10.1 },
};

const REPORT: RehearsalReport = {
  node: 'lb-a',
  at: '2026-11-21T19:30:00.000Z',
  before: {
    addresses: ['192.0.2.100'],
    splices: 1204,
    hot_standby: false,
    peers: [{ name: 'lb-b', alive: true, holds_all: true, unacknowledged: 0, lag_ms: 0 }],
    verified: [{ name: 'lb-b', outcome: 'equal', records: 1204, differed: 0, repaired: 0 }],
    not_spliced: { CLOSE: 2 },
    sockets: 1,
    problems: [],
  },
  move: {
    failed: null,
    handover: HANDOVER,
    kept: 1204,
    lost: 0,
    lost_names: [],
    not_spliced: {},
    outages: [
      {
        address: '192.0.2.100',
        interface: 'eth0',
        answered_ms: 9,
        connected_ms: 20,
        station: '02:00:00:00:00:03',
      },
    ],
    translated_here: 31,
    dropped_here: 0,
    stall_ms: 0,
  },
  ok: true,
};

const EVENT = `lb-a, 2026-11-21T19:30:00.000Z: nothing lost by the takeover

addresses       192.0.2.100
splices         1,204; a peer puts them into its kernel when it takes over
peer            lb-b: in sync, 0 records behind (0 ms), holds 1,204 splices, equal by digest
not replicated  2 CLOSE; 1 connection in user space

kept        1,204 of 1,204 splices
took        handed over in 52 ms: 22 ms until everything was replicated, 11 ms until the peer had taken over, 9 ms until the addresses were gone from here, 10 ms until they were there
address     192.0.2.100: nobody's for 9 ms, then 02:00:00:00:00:03; accepted a connection after 20 ms
live flows  stood still for no time: both nodes translated them
packets     31 translated here after the addresses had gone, 0 dropped

to return: splicectl handover on lb-b`;

words('a rehearsal that lost nothing, as docs/splicectl.md shows it', () => {
  assert.is(describeRehearsal(REPORT).join('\n'), EVENT);
});

words('what was lost, failed or could not be told is said first, and by name', () => {
  const { before, move } = REPORT;
  if (!move) throw new Error('there is a move');
  const bad = describeRehearsal({
    ...REPORT,
    before: { ...before, hot_standby: true, verified: [], problems: ['lb-b is not in sync'] },
    move: {
      ...move,
      kept: 1000,
      lost: 204,
      lost_names: ['10.1.0.10:40001 to 192.0.2.100:80, \x1bSPLICED'],
      not_spliced: { ESTABLISHED: 3 },
      outages: [{ ...move.outages[0], answered_ms: null } as never],
      stall_ms: 1500,
    },
    ok: false,
  });
  const text = bad.join('\n');
  assert.is(bad[0], 'lb-a, 2026-11-21T19:30:00.000Z: 204 flows LOST by the takeover');
  assert.is(bad[1], '  !! lb-b is not in sync');
  assert.match(text, 'a peer has them in its kernel already');
  assert.match(text, '0 records behind (0 ms), not verified');
  assert.match(text, '1,000 of 1,204 splices, 3 ESTABLISHED left here');
  assert.match(text, '192.0.2.100: NOBODY ANSWERED for it');
  assert.match(text, 'stood still for at most 1.5 s');
  assert.match(text, '  lost: 10.1.0.10:40001 to 192.0.2.100:80, ?SPLICED\n  ... and 203 more');
  const failed = describeRehearsal({
    ...REPORT,
    move: { ...move, failed: 'lb-b is in fault', handover: null, stall_ms: null },
    ok: false,
  });
  assert.match(failed[0], 'the addresses HAVE NOT MOVED as they should');
  assert.is(failed[1], '  !! lb-b is in fault');
  assert.match(failed.join('\n'), 'how long they stood still cannot be told from here');
  assert.not.match(failed.join('\n'), 'to return');
  const check = describeRehearsal({ ...REPORT, move: null, ok: false });
  assert.match(check[0], 'a takeover now WOULD LOSE FLOWS');
  assert.is(check.length, 6);
});

words('what a handover leaves behind is said', () => {
  const left = { sockets: 2, unacknowledged: 1 };
  assert.match(describeHandover({ ...HANDOVER, left }), /; 3 flows could not be handed over$/);
});

words.run();
