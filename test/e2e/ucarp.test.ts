// deadline: 120
import { suite } from 'uvu';
import { testJourney } from '../lab/journey-test.js';

// Three seconds without an advertisement are nothing that a busy machine brings about: not serial.
const ucarp = suite('ucarp');

// The way back to lb-a is a handover, by `splicectl handover` and HandoverCommand, as in `planned`.
testJourney(ucarp, { manager: 'ucarp' }, ['crash']);

ucarp.run();
