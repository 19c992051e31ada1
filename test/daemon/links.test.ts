// Two real daemons with two links between them, and splices that are born all the time, while the
// preferred link fails in one way after the other. The steps build on each other.
//
//   namespace a                                namespace b
//   eth2  10.9.0.1 ── veth, multicast ──── eth2  10.9.0.2
//   eth3  10.9.1.1 ── veth, UDP ────────── eth3  10.9.1.2
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { privileges } from '../support/privileges.js';
import { within } from '../support/within.js';
import { type Node, Pair, until } from './pair.js';

const links = suite('pair with two links');
const lacking = privileges();
if (lacking) links.skip(lacking);
else {
  let lab: Pair;
  let nextId = 1;
  let going = true;
  let traffic: Promise<void>;

  const test = (name: string, run: () => Promise<void>): void =>
    links(name, () => within(20_000, name, run()));

  const inUse = async (node: Node): Promise<string> => {
    const paths = (await node.status())?.link.paths ?? [];
    return paths.flatMap(({ in_use, name }) => (in_use ? [name] : [])).join();
  };
  const goesBy = (node: Node, name: string, seconds: number): Promise<void> =>
    until(`${node.name} goes by ${name}`, seconds, async () => (await inUse(node)) === name);
  const network = async (node: Node): Promise<{ [name: string]: number }> => {
    const [section] = (await node.call('stats', { what: 'network' })).sections;
    return section.values as { [name: string]: number };
  };
  /** What comes to a node by eth2 is lost from now on, and nobody is told. */
  const deafen = (name: string): void => {
    const chain = 'chain i { type filter hook input priority 0; iifname eth2 drop; }';
    lab.lab.exec(name, 'nft', `table inet lose { ${chain}; }`);
  };
  const heal = (name: string): void => {
    lab.lab.exec(name, 'nft', 'delete', 'table', 'inet', 'lose');
  };

  links.before(async () => {
    lab = new Pair();
    const [a, b] = ['a', 'b'].map((name) => lab.lab.namespace(name));
    lab.lab.ip('a', [`link add eth3 netns ${a} type veth peer eth3 netns ${b}`]);
    for (const [node, here, there] of [
      [lab.a, '10.9.1.1', '10.9.1.2'],
      [lab.b, '10.9.1.2', '10.9.1.1'],
    ] as const) {
      lab.lab.ip(node.name, [`address add ${here}/24 dev eth3`, 'link set eth3 up']);
      const udp = `UDP { IPv4_address ${here} IPv4_Destination_Address ${there} Port 3781 Interface eth3 }`;
      node.configure((text) =>
        text
          .replace('Multicast {', 'Multicast Default {')
          .replace('}\nKernel', `  ${udp}\n}\nKernel`),
      );
    }
    await lab.start();
    const { table } = await lab.a.table();
    traffic = (async () => {
      for (; going && nextId < 4000; await new Promise((resolve) => setTimeout(resolve, 20))) {
        table.insert(await lab.a.born(4, nextId), { events: true });
        nextId += 4;
      }
    })();
  });
  links.after(async () => {
    going = false;
    await traffic;
    lab?.remove();
  });

  test('both send by the preferred one', async () => {
    assert.equal([await inUse(lab.a), await inUse(lab.b)], ['multicast eth2', 'multicast eth2']);
  });

  test('cut one way: the sender that is not heard goes by the other link', async () => {
    deafen('b');
    await goesBy(lab.a, 'udp eth3', 3);
    assert.is(await inUse(lab.b), 'multicast eth2');
    const status = await lab.a.status();
    assert.equal(status?.link.paths[0].unheard_by, ['b']);
    assert.match(status?.warnings.join() ?? '', 'what goes by multicast eth2 does not reach b');
    assert.match(
      lab.a.log,
      'the link is udp eth3 now: b hears nothing of this node by multicast eth2',
    );
  });

  test('cut the other way too: so does the other one', async () => {
    deafen('a');
    await goesBy(lab.b, 'udp eth3', 5);
  });

  test('healed: both go back after some seconds', async () => {
    heal('a');
    heal('b');
    await Promise.all([goesBy(lab.a, 'multicast eth2', 8), goesBy(lab.b, 'multicast eth2', 8)]);
    assert.match(lab.a.log, 'the link is multicast eth2 now: multicast eth2 is good again');
  });

  test('an interface that goes down is left at once', async () => {
    const refused = (await network(lab.a)).tx_refused;
    lab.lab.ip('a', ['link set eth2 down']);
    await goesBy(lab.a, 'udp eth3', 1);
    assert.is(
      (await network(lab.a)).tx_refused,
      refused,
      'each datagram has left by one or the other',
    );
  });

  test('nothing is missing, and nothing had to be said all over again', async () => {
    going = false;
    await traffic;
    const born = nextId - 1;
    const held = async (): Promise<number> => (await lab.b.status())?.external.entries ?? -1;
    await lab.until('b has what a has', async () => (await held()) === born);
    const ids = (await lab.b.dump('external')).map(({ id }) => Number(id));
    assert.equal(
      ids.sort((x, y) => x - y),
      Array.from({ length: born }, (_, i) => i + 1),
    );
    const { lost_for_good, bulks_received, peers_died } = await network(lab.b);
    assert.equal({ lost_for_good, peers_died }, { lost_for_good: 0, peers_died: 0 });
    assert.is(bulks_received, 1, 'the one of the start');
    for (const node of [lab.a, lab.b]) assert.is((await node.status())?.in_sync, true);
  });
}

links.run();
