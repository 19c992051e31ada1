// A peer of the first version of the wire, on the link of a namespace: it knows nothing of yielding.
//
//   old-peer.ts NAME ADDRESS

import { readSettings } from '../../daemon/config.js';
import { clock, incarnationNow, random } from '../../daemon/world.js';
import { nodeId } from '../../kernel/record/record.js';
import { Sync } from '../../sync/engine.js';
import { openLinks } from '../../sync/transport/links.js';

const [name, address] = process.argv.slice(2);
const { links } = readSettings(
  'old-peer',
  `Sync { Mode FTFW Multicast { IPv4_address 225.0.0.50 Group 3780 Interface eth2 IPv4_interface ${address} } }
Kernel { Interface eth0 Cgroup /c }
General { NodeName ${name} }
`,
);
const link = await openLinks(links, (bytes, path) => sync.receive(bytes, path));
const sync: Sync = new Sync({
  node: nodeId(name),
  name,
  incarnation: incarnationNow(),
  clock,
  random,
  link,
  versionMax: 1,
  events: {
    demoted: () => {},
    ended: () => {},
    syncChanged: () => {},
    peerChanged: () => {},
    epochChanged: () => {},
    notice: () => {},
  },
});
sync.start();
