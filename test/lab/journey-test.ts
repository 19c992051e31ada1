// What every test of a journey asks of it.
import type { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Journey, type Passage } from './journey.js';
import { EVENTS, type Event, type EventName } from './managers/events.js';
import type { NodesOptions } from './nodes.js';
import { whatIsMissing } from './preflight.js';
import { inLab } from './run-in-test.js';

interface Trip {
  flows: number;
  right: number;
  /** The proxy of lb-b listened before it had had the addresses. */
  listened: boolean;
  passages: Passage[];
  remains: string[];
}

/** Takes the same flows through the events, one after the other, and tests what must hold in each. */
export function testJourney(
  journey: ReturnType<typeof suite>,
  options: NodesOptions,
  events: readonly EventName[],
): void {
  const missing = whatIsMissing();
  if (missing) console.log(`skipped: ${missing}`);
  const test = missing ? journey.skip : journey;
  let trip: Trip;

  test('the journey comes to its end', async () => {
    trip = await inLab(async (lab) => {
      const flows = { both: 3, ping: 3, idle: 1 };
      const way = new Journey(lab, { ...options, flows, pace: 50_000, every: 20 });
      await way.start();
      const listened = way.nodes.b.serves() && !way.nodes.holds('lb-b');
      const passages: Passage[] = [];
      for (const event of events) passages.push(await way.pass(event));
      return { flows: way.flows, right: await way.load.finish(), listened, passages };
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

  test('of nodes that hear each other, one answers for the addresses', () => {
    for (const { event, answering } of trip.passages) {
      const { apart, splits }: Event = EVENTS[event];
      // where both have the addresses, it is the one that was told of them last
      if (splits && !apart) assert.is(answering.length, 1, `${event}: ${answering}`);
      else if (!apart) assert.equal(answering, ['lb-b'], event);
    }
  });

  test('IPv6 addresses are there without a second of asking whether somebody has them', () => {
    for (const { event, tentative } of trip.passages) assert.equal(tentative, [], event);
  });

  test('the proxy that stands by listens, and serves as soon as it may', () => {
    assert.ok(trip.listened);
  });

  test('the lab leaves nothing behind', () => {
    assert.equal(trip.remains, []);
  });
}
