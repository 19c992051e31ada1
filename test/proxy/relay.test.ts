// switchd where no datapath is loaded: every connection is relayed in user space.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { promisify } from 'node:util';
import { pino } from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readSwitchConfig } from '../../proxy/config.js';
import { Counters } from '../../proxy/counters.js';
import { Presence } from '../../proxy/presence.js';
import { Switch } from '../../proxy/switch.js';
import { Throttle } from '../../proxy/throttle.js';
import {
  type Backend,
  deadline,
  exchange,
  freePort,
  pattern,
  sha256,
  tcpServer,
  until,
  webServer,
} from './backend.js';

const VIRTUAL = '127.0.0.1';
const REAL = '127.0.0.2';
const LENGTH = 5_000_000;
const run = promisify(execFile);

interface Bed {
  readonly port: number;
  readonly url: string;
  readonly counters: Counters;
  readonly balancer: Switch;
}

/** A load balancer in front of these, and everything gone afterwards. */
async function bed(
  backends: (Backend | number)[],
  options: {
    directives?: string;
    connectionsMax?: number;
    also?: Backend[];
    virtual?: string;
    real?: string;
  },
  test: (bed: Bed) => Promise<void>,
): Promise<void> {
  const { virtual = VIRTUAL, real: address = REAL } = options;
  const port = await freePort(virtual);
  const real = backends.map((b) => `real_server ${address} ${typeof b === 'number' ? b : b.port}`);
  const config = readSwitchConfig(
    'test',
    `virtual_server ${virtual} ${port} {\n${options.directives ?? ''}\n${real.join('\n')}\n}`,
  );
  const counters = new Counters();
  const log = pino({ level: 'silent' });
  const shared = { counters, log, throttle: new Throttle(() => 0), presence: new Presence(log) };
  const balancer = await Switch.open(config, shared, options.connectionsMax ?? 1000);
  try {
    await deadline(
      test({
        port,
        url: `http://${virtual.includes(':') ? `[${virtual}]` : virtual}:${port}`,
        counters,
        balancer,
      }),
    );
  } finally {
    await balancer.stop(0, 0);
    for (const backend of [...backends, ...(options.also ?? [])]) {
      if (typeof backend !== 'number') await backend.close();
    }
  }
}

const curl = async (...args: string[]) => {
  const { stdout } = await run('curl', ['-sS', '--max-time', '4', ...args], {
    encoding: 'buffer',
    maxBuffer: 2 * LENGTH,
  });
  return stdout;
};

const relayed = suite('relaying');

relayed('carries downloads, several over one connection', async () => {
  const web = await webServer(REAL);
  await bed([web], {}, async ({ url, counters }) => {
    const got = await curl(`${url}/${LENGTH}`, `${url}/1000`);
    assert.is(got.length, LENGTH + 1000);
    assert.ok(got.equals(Buffer.concat([pattern(LENGTH), pattern(1000)])));
    assert.is(web.connections.length, 1);
    assert.is(counters.get('relayed'), 1);
    assert.is(counters.get('spliced'), 0);
  });
});

relayed('carries uploads, many at once', async () => {
  const [a, b] = [await webServer(REAL), await webServer(REAL)];
  await bed([a, b], {}, async ({ port, counters }) => {
    const body = pattern(1_000_000);
    const head = `PUT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
    const request = Buffer.concat([Buffer.from(head), body]);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => exchange(VIRTUAL, port, request)),
    );
    for (const answer of answers) assert.match(answer.toString(), sha256(body));
    assert.equal([a.connections.length, b.connections.length], [10, 10]);
    await until(() => counters.get('relay_completed') === 20);
  });
});

const FAMILIES = [
  ['::1', '::1'],
  ['::1', REAL],
  [VIRTUAL, '::1'],
] as const;
for (const [virtual, real] of FAMILIES) {
  relayed(`takes clients on ${virtual} to a real server at ${real}`, async () => {
    const web = await webServer(real);
    await bed([web], { virtual, real }, async ({ url, counters }) => {
      assert.ok((await curl(`${url}/100000`)).equals(pattern(100_000)));
      assert.is(counters.get('relayed', 'unavailable'), 1);
    });
  });
}

relayed('lets each direction end on its own', async () => {
  const seen: Buffer[] = [];
  const late = await tcpServer(REAL, (socket) => {
    socket.on('data', (chunk) => seen.push(chunk as Buffer));
    socket.on('end', () => socket.end(pattern(300_000)));
  });
  await bed([late], {}, async ({ port, counters }) => {
    const request = 'POST / HTTP/1.0\r\n\r\nall of it';
    const got = await exchange(VIRTUAL, port, request, { end: true });
    assert.ok(got.equals(pattern(300_000)));
    assert.is(Buffer.concat(seen).toString(), request);
    await until(() => counters.get('relay_completed') === 1);
  });
});

relayed('waits for a reader that is slow, in either direction', async () => {
  const echo = await tcpServer(REAL, (socket) => socket.pipe(socket));
  await bed([echo], {}, async ({ port }) => {
    const sent = Buffer.concat([Buffer.from('PUT / HTTP/1.0\r\n\r\n'), pattern(20_000_000)]);
    const client = connect({ host: VIRTUAL, port, allowHalfOpen: true });
    client.end(sent);
    client.pause();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const chunks: Buffer[] = [];
    client.on('data', (chunk) => chunks.push(chunk as Buffer));
    client.resume();
    await once(client, 'end');
    assert.ok(Buffer.concat(chunks).equals(sent));
  });
});

relayed('passes a break on as a break, never as an end', async () => {
  const breaks = await tcpServer(REAL, (socket) => {
    socket.once('data', () => socket.write(pattern(1000), () => socket.resetAndDestroy()));
  });
  await bed([breaks], {}, async ({ port, counters }) => {
    const error = await exchange(VIRTUAL, port, 'GET / HTTP/1.0\r\n\r\n').catch((e) => e);
    assert.is(error.code, 'ECONNRESET');
    await until(() => counters.get('relay_broken') === 1);
  });

  let server: Socket | undefined;
  const waits = await tcpServer(REAL, (socket) => {
    server = socket;
    socket.resume();
  });
  await bed([waits], {}, async ({ port }) => {
    const client = connect(port, VIRTUAL);
    client.write('GET / HTTP/1.0\r\n\r\n');
    await until(() => server !== undefined);
    client.resetAndDestroy();
    assert.ok(server);
    const [error] = await once(server, 'error');
    assert.is(error.code, 'ECONNRESET');
  });
});

relayed.run();

const choice = suite('choosing a real server');

choice('goes past a dead one, and remembers it for a while', async () => {
  const [dead, web] = [await freePort(REAL), await webServer(REAL)];
  await bed([dead, web], {}, async ({ url, counters }) => {
    for (let i = 0; i < 3; i++) assert.is((await curl(`${url}/10`)).length, 10);
    assert.is(web.connections.length, 3);
    assert.is(counters.get('connect_failed', 'ECONNREFUSED'), 1);
    assert.is(counters.get('no_server'), 0);
  });
});

choice('answers 503 when all are dead, without a body to HEAD', async () => {
  await bed([await freePort(REAL), await freePort(REAL)], {}, async ({ port, counters }) => {
    const got = (await exchange(VIRTUAL, port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')).toString();
    assert.match(got, /^HTTP\/1.1 503 Service Unavailable\r\n/);
    assert.match(got, /\r\nConnection: close\r\n/);
    assert.match(got, /\r\n\r\nno real server answers\n$/);
    assert.is(counters.get('connect_failed'), 2);
    const head = (await exchange(VIRTUAL, port, 'HEAD / HTTP/1.1\r\nHost: x\r\n\r\n')).toString();
    assert.match(head, /^HTTP\/1.1 503 .*\r\n\r\n$/s);
    assert.is(counters.get('no_server'), 2);
  });
});

choice('the answer arrives although the client is still sending', async () => {
  await bed([await freePort(REAL)], {}, async ({ port }) => {
    const upload = Buffer.concat([Buffer.from('PUT / HTTP/1.0\r\n\r\n'), pattern(200_000)]);
    assert.match((await exchange(VIRTUAL, port, upload)).toString(), /^HTTP\/1.1 503 /);
  });
});

choice('by least connections counts those that are open', async () => {
  const named = (name: string) =>
    tcpServer(REAL, (socket) => socket.on('data', () => socket.write(name)));
  const clients: { name: string; socket: Socket }[] = [];
  const ask = async (port: number) => {
    const socket = connect(port, VIRTUAL).on('error', () => {});
    socket.write('GET / HTTP/1.0\r\n\r\n');
    const [name] = await once(socket, 'data');
    clients.push({ name: name.toString(), socket });
    return name.toString();
  };
  const backends = [await named('a'), await named('b')];
  await bed(backends, { directives: 'schedule_lc' }, async ({ port, counters }) => {
    for (let i = 0; i < 4; i++) await ask(port);
    const ofA = clients.filter(({ name }) => name === 'a');
    assert.is(ofA.length, 2);
    for (const { socket } of ofA) socket.resetAndDestroy();
    await until(() => counters.get('relay_broken') === 2);
    assert.is(await ask(port), 'a');
    assert.is(await ask(port), 'a');
  });
  for (const { socket } of clients) socket.destroy();
});

choice('sends from the configured address and from the share of ports', async () => {
  const peers: string[] = [];
  const see = await tcpServer(REAL, (socket) => {
    peers.push(`${socket.remoteAddress}`);
    socket.resume().on('data', () => socket.end('!'));
  });
  const directives = 'source 127.0.0.3\nports 21000 21009';
  await bed([see], { directives }, async ({ port }) => {
    for (let i = 0; i < 3; i++) await exchange(VIRTUAL, port, 'GET / HTTP/1.0\r\n\r\n');
    assert.equal(peers, ['127.0.0.3', '127.0.0.3', '127.0.0.3']);
    for (const from of see.connections) assert.ok(from >= 21000 && from <= 21009, `${from}`);
  });
});

choice.run();

const bounds = suite('bad requests and limits');

const REFUSED: [
  what: string,
  send: string,
  status: RegExp,
  counter: 'malformed' | 'version' | 'too_large',
][] = [
  ['what is not HTTP', '\x16\x03\x01\x02\x00\x01', /^HTTP\/1.1 400 Bad Request/, 'malformed'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\n', /^HTTP\/1.1 505 /, 'version'],
  ['an endless head', `GET / HTTP/1.1\r\nA: ${'x'.repeat(20_000)}`, /^HTTP\/1.1 431 /, 'too_large'],
];
for (const [what, send, status, counter] of REFUSED) {
  bounds(`refuses ${what}, and asks no real server`, async () => {
    const web = await webServer(REAL);
    await bed([web], {}, async ({ port, counters }) => {
      assert.match((await exchange(VIRTUAL, port, send)).toString(), status);
      assert.is(counters.get(counter), 1);
      assert.is(web.connections.length, 0);
    });
  });
}

bounds('a client that goes before its request is complete is forgotten', async () => {
  const web = await webServer(REAL);
  await bed([web], {}, async ({ port, counters, balancer }) => {
    await exchange(VIRTUAL, port, 'GET / HT', { end: true });
    await until(() => balancer.open === 0);
    assert.is(counters.get('client_gone'), 1);
    assert.is(web.connections.length, 0);
  });
});

bounds('connections over the limit are reset, and the others are served', async () => {
  const echo = await tcpServer(REAL, (socket) => socket.pipe(socket));
  await bed([echo], { connectionsMax: 2 }, async ({ port, counters }) => {
    const held = [connect(port, VIRTUAL), connect(port, VIRTUAL)];
    for (const client of held) {
      client.write('GET / HTTP/1.0\r\n\r\n');
      await once(client, 'data');
    }
    const error = await exchange(VIRTUAL, port, 'GET / HTTP/1.0\r\n\r\n').catch((e) => e);
    assert.is(error.code, 'ECONNRESET');
    assert.is(counters.get('over_limit'), 1);
    held[0].write('still here');
    assert.is((await once(held[0], 'data'))[0].toString(), 'still here');
    for (const client of held) client.destroy();
  });
});

bounds(
  'a new configuration is for new connections, and one that fails changes nothing',
  async () => {
    const named = (name: string) =>
      tcpServer(REAL, (socket) => socket.on('data', () => socket.write(name)));
    const [a, b] = [await named('a'), await named('b')];
    const other = await tcpServer(VIRTUAL, () => {});
    await bed([a], { also: [b, other] }, async ({ port, balancer }) => {
      const ask = async (socket: Socket) => {
        socket.write('GET / HTTP/1.0\r\n\r\n');
        return `${(await once(socket, 'data'))[0]}`;
      };
      const held = connect(port, VIRTUAL).on('error', () => {});
      assert.is(await ask(held), 'a');

      const second = await freePort(VIRTUAL);
      const serve = (...ports: number[]) =>
        ports
          .map((p) => `virtual_server ${VIRTUAL} ${p} {\nreal_server ${REAL} ${b.port}\n}\n`)
          .join('');
      const failed = await balancer
        .reload(readSwitchConfig('f', serve(second, other.port)))
        .catch((e) => e);
      assert.match(failed.message, 'in use');
      const refused = await exchange(VIRTUAL, second, 'x').catch((e) => e);
      assert.is(refused.code, 'ECONNREFUSED');

      const { added } = await balancer.reload(readSwitchConfig('f', serve(port, second)));
      assert.equal(added, [`${VIRTUAL}:${second}`]);
      for (const p of [port, second]) {
        const socket = connect(p, VIRTUAL);
        assert.is(await ask(socket), 'b');
        socket.destroy();
      }
      assert.is(await ask(held), 'a');
      held.destroy();

      const { removed } = await balancer.reload(readSwitchConfig('f', serve(second)));
      assert.equal(removed, [`${VIRTUAL}:${port}`]);
    });
  },
);

bounds('a graceful stop lets a relayed transfer end, and takes no new connection', async () => {
  const late = await tcpServer(REAL, (socket) => {
    socket.once('data', () => setTimeout(() => socket.end(pattern(100_000)), 200));
  });
  await bed([late], {}, async ({ port, balancer, counters }) => {
    const soon = exchange(VIRTUAL, port, 'GET / HTTP/1.0\r\n\r\n', { end: true });
    await until(() => counters.get('relayed') === 1);
    const stopped = balancer.stop(50, 2_000);
    const error = await exchange(VIRTUAL, port, 'GET / HTTP/1.0\r\n\r\n').catch((e) => e);
    assert.is(error.code, 'ECONNREFUSED');
    assert.ok((await soon).equals(pattern(100_000)));
    await stopped;
    assert.is(counters.get('stopped'), 0);
  });
});

bounds('a stop has a bound: what does not end is reset', async () => {
  const echo = await tcpServer(REAL, (socket) => socket.pipe(socket));
  await bed([echo], {}, async ({ port, balancer, counters }) => {
    const client = connect(port, VIRTUAL);
    client.write('GET / HTTP/1.0\r\n\r\n');
    await once(client, 'data');
    const gone = once(client, 'close').catch((e) => e);
    client.on('error', () => {});
    await balancer.stop(20, 40);
    await gone;
    assert.is(counters.get('stopped'), 1);
    assert.is(balancer.open, 0);
  });
});

bounds.run();
