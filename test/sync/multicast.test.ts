// FTFW over real multicast.
//
//   this process, lb-a                 its child, lb-b, in a namespace of its own
//   sync0  10.9.0.1/24 ──── veth ──── sync1  10.9.0.2/24
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SyncError } from '../../sync/error.js';
import { openMulticast } from '../../sync/transport/multicast.js';
import { isolateOrSkip, run } from '../support/isolate.js';
import { within } from '../support/within.js';
import { answer, type LinkNode, linkNode } from './remote.js';

await isolateOrSkip(import.meta.url);

const multicast = suite('multicast');
type Answer = ReturnType<typeof answer>;

let a: LinkNode;
let child: ChildProcess;
let lines: AsyncIterator<string>;
let reader: Interface;

async function tell(line: string): Promise<Answer> {
  child.stdin?.write(`${line}\n`);
  return hear();
}

async function hear(): Promise<Answer> {
  const next = await within(5000, 'an answer of the child', lines.next());
  return JSON.parse(next.value);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Until both hold exactly what the other one owns, and know it. */
async function equal(ms: number): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    const [here, there] = [answer(a), await tell('ask')];
    const same = here.ownsDigest === there.holdsDigest && there.ownsDigest === here.holdsDigest;
    if (same && here.unacknowledged + there.unacknowledged === 0) return;
    if (performance.now() > end) assert.unreachable(JSON.stringify({ here, there }));
    await pause(10);
  }
}

multicast.before(async () => {
  const file = fileURLToPath(new URL('remote.ts', import.meta.url));
  const argv = ['--net', process.execPath, ...process.execArgv, file, 'serve'];
  child = spawn('unshare', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  reader = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  lines = reader[Symbol.asyncIterator]();
  await hear();
  const inside = ['nsenter', '-t', String(child.pid), '-n'] as const;
  run('ip', 'link', 'add', 'sync0', 'type', 'veth', 'peer', 'name', 'sync1');
  run('ip', 'link', 'set', 'sync1', 'netns', String(child.pid));
  run('ip', 'address', 'add', '10.9.0.1/24', 'dev', 'sync0');
  run('ip', 'link', 'set', 'sync0', 'up');
  run(...inside, 'ip', 'address', 'add', '10.9.0.2/24', 'dev', 'sync1');
  run(...inside, 'ip', 'link', 'set', 'sync1', 'up');
  a = await linkNode('lb-a', 'sync0');
  await tell('start sync1');
});

multicast.after(() => {
  a?.stop();
  reader?.close();
  child?.stdin?.end();
  child?.kill();
});

multicast('twenty thousand splices of either node reach the other one exactly', async () => {
  for (let i = 0; i < 20; i++) {
    a.open(1000);
    await tell('open 1000');
  }
  await equal(5000);
  assert.is(answer(a).holds, 20_000);
});

multicast('a single change is acknowledged within tens of milliseconds', async () => {
  const lags: number[] = [];
  for (let i = 0; i < 20; i++) {
    const [record] = a.open(1);
    const began = performance.now();
    while (!a.sync.acknowledged(record.slice) && performance.now() - began < 1000) await pause(1);
    lags.push(performance.now() - began);
  }
  lags.sort((x, y) => x - y);
  assert.ok(lags[10] < 100, `median ${lags[10].toFixed(1)} ms`);
});

multicast('what changes while the link is down arrives when it is up again', async () => {
  run('ip', 'link', 'set', 'sync0', 'down');
  a.open(500);
  await tell('close 500');
  await pause(100);
  run('ip', 'link', 'set', 'sync0', 'up');
  await equal(6000);
  const { send_errors, receive_buffer } = a.sync.stats().link;
  assert.ok(send_errors > 0, 'the link says what it could not send');
  assert.ok(receive_buffer > 0);
});

multicast('an interface or a group that is not there is an error with its remedy', async () => {
  const options = {
    address: '225.0.0.51',
    port: 3781,
    interface: 'nowhere0',
    interfaceAddress: undefined,
    sendBuffer: undefined,
    receiveBuffer: undefined,
    receive: () => {},
  };
  const code = async (changed: Partial<typeof options>): Promise<string> => {
    try {
      (await openMulticast({ ...options, ...changed })).close();
      return 'opened';
    } catch (error) {
      return error instanceof SyncError ? error.code : String(error);
    }
  };
  assert.is(await code({}), 'INTERFACE');
  assert.is(await code({ interface: 'sync0', address: '10.9.0.1' }), 'GROUP');
  assert.is(await code({ interface: 'sync0', address: '10.77.0.1' }), 'SOCKET');
  assert.is(await code({ interface: 'sync0' }), 'opened');
});

multicast.run();
