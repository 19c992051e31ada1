/** Web servers on the addresses given, port 80, in a process of their own; says so when they listen. */
import { webServer } from '../backend.js';

for (const address of process.argv.slice(2)) await webServer(address, 80);
process.stdout.write('listening\n');
