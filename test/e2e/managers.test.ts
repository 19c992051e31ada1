// serial, deadline: 60
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Journey, type Passage } from '../lab/journey.js';
import type { EventName } from '../lab/managers/events.js';
import { whatIsMissing } from '../lab/preflight.js';
import { inLab } from '../lab/run-in-test.js';

/*
 * The same flows through one event after the other. test/lab/managers/events.ts has the events, and
 * `npm run managers` each manager through each of them. The drawing of the network stands in
 * test/lab/topology.ts.
 */
const missing = whatIsMissing();
if (missing) console.log(`skipped: ${missing}`);

const EVENTS: EventName[] = ['servers link', 'crash'];

interface Trip {
  flows: number;
  right: number;
  passages: Passage[];
}
let trip: Trip & { remains: string[] };

const keepalived = suite('keepalived, which prefers lb-a');
const test = missing ? keepalived.skip : keepalived;

test('the journey comes to its end', async () => {
  trip = await inLab(async (lab) => {
    const flows = { both: 4, ping: 4, idle: 2 };
    const journey = new Journey(lab, { prefers: 'lb-a', flows, pace: 50_000, every: 20 });
    await journey.start();
    const passages: Passage[] = [];
    for (const event of EVENTS) passages.push(await journey.pass(event));
    return { flows: journey.flows, right: await journey.load.finish(), passages };
  });
});

test('every flow lives through every event, and comes to its end with each octet right', () => {
  for (const { event, alive, flows, lost } of trip.passages) {
    assert.is(alive, flows, `${event}: ${JSON.stringify(lost)}`);
  }
  assert.is(trip.right, trip.flows);
});

test('no end sees or sends a RST', () => {
  for (const { event, resets } of trip.passages) assert.equal(resets, {}, event);
});

test('one node answers for the addresses, and then it is the other one again', () => {
  for (const { event, answering } of trip.passages) assert.equal(answering, ['lb-b'], event);
});

test('the lab leaves nothing behind', () => {
  assert.equal(trip.remains, []);
});

keepalived.run();
