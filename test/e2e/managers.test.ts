// serial, deadline: 120
import { suite } from 'uvu';
import { testJourney } from '../lab/journey-test.js';

/*
 * Both sides move together, and lb-a has them whenever it can. test/lab/managers/events.ts has the
 * events, and `npm run managers` each manager through each of them. The drawing of the network stands
 * in test/lab/topology.ts.
 */
const keepalived = suite('keepalived with a sync group, which prefers lb-a');

testJourney(keepalived, { manager: 'keepalived-sync-group', prefers: 'lb-a' }, [
  'servers link',
  'split brain',
  'split, no sync',
  'comes back too early',
]);

keepalived.run();
