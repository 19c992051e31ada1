// deadline: 120
import { suite } from 'uvu';
import { testJourney } from '../lab/journey-test.js';

// Three seconds without an advertisement are nothing that a busy machine brings about: not serial.
const ucarp = suite('ucarp');

testJourney(ucarp, { manager: 'ucarp' }, ['planned', 'crash']);

ucarp.run();
