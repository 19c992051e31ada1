import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HEAD_SIZE_MAX, HeadError, HeadScanner, readHead } from '../../proxy/head.js';

const GET = 'GET /a?b=c HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n';

/** Length of the head, or -1 when it is not complete. */
function scan(text: string, cut = text.length): number {
  const scanner = new HeadScanner();
  const bytes = Buffer.from(text, 'latin1');
  for (let at = 0; at < bytes.length; at += cut) {
    if (scanner.feed(bytes.subarray(at, at + cut))) return scanner.length;
  }
  return -1;
}

const code = (text: string) => {
  try {
    return scan(text);
  } catch (error) {
    assert.instance(error, HeadError);
    return (error as HeadError).code;
  }
};

const scanner = suite('request head');

scanner('is found wherever the segments were cut', () => {
  for (let cut = 1; cut <= GET.length; cut++) assert.is(scan(GET, cut), GET.length, `cut ${cut}`);
});

scanner('ends where it ends: a body or a second request is not part of it', () => {
  assert.is(scan(`${GET}body`), GET.length);
  assert.is(scan(GET + GET), GET.length);
  assert.is(scan(GET.slice(0, -1)), -1);
  assert.is(scan(''), -1);
});

const RIGHT: [what: string, text: string][] = [
  ['HTTP/1.0 without a field', 'GET / HTTP/1.0\r\n\r\n'],
  ['bare LF as line end (RFC 9112 section 2.2)', 'GET / HTTP/1.0\nHost: x\n\n'],
  ['empty lines before it (RFC 9112 section 2.2)', `\r\n\r\n${GET}`],
  ['methods of an extension', 'VERSION-CONTROL /x HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['the asterisk form', 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['the authority form', 'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['empty values, tabs, bytes above 127', 'GET / HTTP/1.1\r\nA:\r\nB:\tx y\r\nC: \xe4\r\n\r\n'],
  ['a minor version to come', 'GET / HTTP/1.9\r\n\r\n'],
];
for (const [what, text] of RIGHT)
  scanner(`takes ${what}`, () => assert.is(code(text), text.length));

const WRONG: [what: string, text: string, code: string][] = [
  ['a TLS greeting', '\x16\x03\x01\x02\x00\x01', 'MALFORMED'],
  ['HTTP/0.9', 'GET /\r\n', 'MALFORMED'],
  ['no method', ' / HTTP/1.1\r\n\r\n', 'MALFORMED'],
  ['an endless method', `${'A'.repeat(33)}`, 'MALFORMED'],
  ['no target', 'GET  HTTP/1.1\r\n\r\n', 'MALFORMED'],
  ['a blank in the target', 'GET /a b HTTP/1.1\r\n\r\n', 'MALFORMED'],
  ['a NUL in the target', 'GET /\0 HTTP/1.1\r\n\r\n', 'MALFORMED'],
  ['another protocol', 'GET / ICY/1.1\r\n\r\n', 'MALFORMED'],
  ['a version that is none', 'GET / HTTP/1.x\r\n\r\n', 'MALFORMED'],
  ['more after the version', 'GET / HTTP/1.10\r\n\r\n', 'MALFORMED'],
  ['HTTP/2 with prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'VERSION'],
  ['a lone CR', 'GET / HTTP/1.1\r\nA: b\rc\r\n\r\n', 'MALFORMED'],
  ['a CR before CRLF', 'GET / HTTP/1.1\r\r\n\r\n', 'MALFORMED'],
  ['a folded line', 'GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n', 'MALFORMED'],
  ['white space before the colon', 'GET / HTTP/1.1\r\nA : b\r\n\r\n', 'MALFORMED'],
  ['a line without a colon', 'GET / HTTP/1.1\r\nA\r\n\r\n', 'MALFORMED'],
  ['a field without a name', 'GET / HTTP/1.1\r\n: a\r\n\r\n', 'MALFORMED'],
  ['a NUL in a value', 'GET / HTTP/1.1\r\nA: \0\r\n\r\n', 'MALFORMED'],
  ['a DEL in a value', 'GET / HTTP/1.1\r\nA: \x7f\r\n\r\n', 'MALFORMED'],
];
for (const [what, text, expected] of WRONG) {
  scanner(`refuses ${what}`, () => assert.is(code(text), expected));
}

scanner('has a bound on its size, and reaches it to the byte', () => {
  const of = (size: number) => {
    const frame = 'GET / HTTP/1.1\r\nA: \r\n\r\n';
    return frame.replace('A: ', `A: ${'x'.repeat(size - frame.length)}`);
  };
  assert.is(code(of(HEAD_SIZE_MAX)), HEAD_SIZE_MAX);
  assert.is(code(of(HEAD_SIZE_MAX + 1)), 'TOO_LARGE');
  assert.is(code('\r\n'.repeat(HEAD_SIZE_MAX)), 'TOO_LARGE');
});

scanner.run();

/** A client and the accepted end of its connection, as switchd accepts it. */
async function pair(run: (client: Socket, accepted: Socket) => Promise<void>): Promise<void> {
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const acceptedSoon = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = connect(port, '127.0.0.1').setNoDelay(true);
  client.on('error', () => {});
  const accepted = await acceptedSoon;
  accepted.on('error', () => {});
  try {
    await run(client, accepted);
  } finally {
    client.destroy();
    accepted.destroy();
    server.close();
  }
}

const failure = async (promise: Promise<unknown>) => {
  try {
    await promise;
  } catch (error) {
    return (error as HeadError).code;
  }
  return 'none';
};

const reader = suite('request head, from a socket');

reader('arrives byte by byte', () =>
  pair(async (client, accepted) => {
    const soon = readHead(accepted);
    const short = 'GET / HTTP/1.0\r\n\r\n';
    for (const c of short) {
      client.write(c);
      await sleep(1);
    }
    const head = await soon;
    assert.is(head.bytes.toString(), short);
    assert.is(head.headLength, short.length);
    assert.is(head.method, 'GET');
  }),
);

reader('keeps what is pipelined behind it, every byte once', () =>
  pair(async (client, accepted) => {
    const body = Buffer.alloc(100_000, 'abcdefg');
    client.write(Buffer.concat([Buffer.from(GET), body]));
    const head = await readHead(accepted);
    const chunks = [head.bytes];
    accepted.on('data', (chunk) => chunks.push(chunk as Buffer));
    accepted.resume();
    client.end();
    await new Promise((resolve) => accepted.once('end', resolve));
    assert.is(head.headLength, GET.length);
    assert.ok(Buffer.concat(chunks).equals(Buffer.concat([Buffer.from(GET), body])));
    for (const event of ['readable', 'close']) assert.is(accepted.listenerCount(event), 0, event);
  }),
);

reader('comes with the end of the stream right behind it', () =>
  pair(async (client, accepted) => {
    client.end(GET);
    const head = await readHead(accepted);
    assert.is(head.bytes.toString(), GET);
  }),
);

reader('has a bound on its time, which a slow sender does not stretch', () =>
  pair(async (client, accepted) => {
    const began = Date.now();
    const soon = failure(readHead(accepted, 150));
    const drip = setInterval(() => client.write('X'), 20);
    assert.is(await soon, 'TIMEOUT');
    clearInterval(drip);
    assert.ok(Date.now() - began < 1_000);
  }),
);

reader('is refused at the first wrong byte, complete or not', () =>
  pair(async (client, accepted) => {
    client.write('GET / HTTP/1.1\r\nA B');
    assert.is(await failure(readHead(accepted)), 'MALFORMED');
  }),
);

reader('says so when the client goes, politely or not', async () => {
  await pair(async (client, accepted) => {
    client.end('GET / HT');
    assert.is(await failure(readHead(accepted)), 'CLIENT_GONE');
  });
  await pair(async (client, accepted) => {
    const soon = failure(readHead(accepted));
    client.resetAndDestroy();
    assert.is(await soon, 'CLIENT_GONE');
    assert.is(await failure(readHead(accepted)), 'CLIENT_GONE', 'and when it had gone before');
  });
});

reader.run();
