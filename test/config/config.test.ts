// The block grammar and the tables: what is accepted, and where an error is said to be.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ConfigError, readConfig, type Schema, type Section, types } from '../../config/index.js';

const SCHEMA: Schema = {
  virtual_server: {
    args: [types.address, types.port],
    repeat: true,
    required: true,
    block: {
      schedule_rr: {},
      schedule_lc: {},
      listen_backlog: { args: [types.integer(1, 65535)] },
      source: {
        args: [types.address, types.keyword('ports'), types.port, types.port],
        repeat: true,
      },
      real_server: {
        args: [types.address, types.port],
        repeat: true,
        blockOptional: true,
        block: {
          weight: { args: [types.integer(0, 1000)] },
          check: { args: [types.choice('http', 'tcp')], options: { at: [types.path] } },
        },
      },
    },
  },
  Names: { rest: types.word },
  Wait: { args: [types.duration(0, 3600)] },
  Debug: { args: [types.flag] },
  Later: { refused: 'not supported in this version' },
};

function read(text: string): Section {
  return readConfig('x.conf', text, SCHEMA, { comments: '!' }, (root) => root);
}

/** The problems of a text, as the operator sees them. */
function problems(text: string): string[] {
  try {
    read(text);
  } catch (error) {
    assert.instance(error, ConfigError);
    assert.is((error as ConfigError).exitCode, 2);
    return (error as ConfigError).message.split('\n');
  }
  return [];
}

const GOOD = 'virtual_server 10.0.0.1 80 { }\n';
const grammar = suite('grammar');

grammar("takes layer7switch's file with one-line blocks and both comments", () => {
  const root = read(`! a comment
virtual_server 192.168.200.100 8080
{
  ! schedule_rr            default
  schedule_lc # really
  listen_backlog 1024
  source 10.0.0.7 ports 20000 29999
  real_server 192.168.201.1 80
  real_server 192.168.201.2 80 { weight 2 check http at /healthz }
}
Names eth0 "with space" a#b
Wait 1.5m
Debug no
`);
  const server = root.one('virtual_server');
  assert.equal(server?.values, ['192.168.200.100', 8080]);
  assert.not(server?.block.has('schedule_rr'));
  assert.ok(server?.block.has('schedule_lc'));
  assert.is(server?.block.value('listen_backlog'), 1024);
  assert.equal(server?.block.one('source')?.values, ['10.0.0.7', 'ports', 20000, 29999]);
  const second = server?.block.all('real_server')[1];
  assert.is(second?.block.value('weight'), 2);
  assert.equal(second?.block.one('check')?.options, { at: ['/healthz'] });
  assert.equal(second?.valuesAt[1], { file: 'x.conf', line: 9, column: 29 });
  assert.equal(root.one('Names')?.values, ['eth0', 'with space', 'a#b']);
  assert.is(root.value('Wait'), 90);
  assert.is(root.value('Debug'), false);
});

grammar('words of any number end where the next directive of the block begins', () => {
  const root = read(`${GOOD}Names a b "Wait" Wait 3 Debug No\n`);
  assert.equal(root.one('Names')?.values, ['a', 'b', 'Wait']);
  assert.is(root.value('Wait'), 3);
  assert.is(root.value('Debug'), false);
});

grammar('a byte-order mark, CRLF and a last line without an end are no errors', () => {
  assert.is(read(`\uFEFF${GOOD}Wait 3\r\n\r\nDebug Yes`).value('Debug'), true);
});

const errors = suite('errors');
const cases: [what: string, text: string, expected: string[]][] = [
  [
    'an unknown directive, with a suggestion',
    `${GOOD}  Wiat 3\n`,
    ['x.conf:2:3: unknown directive "Wiat" at the top of the file: did you mean Wait?'],
  ],
  [
    'an unknown directive in a block, with the list',
    'virtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 { zzzzzzzzzz 3 }\n}',
    [
      'x.conf:2:28: unknown directive "zzzzzzzzzz" in the block of real_server: expected one of weight, check',
    ],
  ],
  [
    'a wrong type',
    'virtual_server 10.0.0.300 80 { }',
    [
      'x.conf:1:16: "10.0.0.300" is not what virtual_server takes: expected an IPv4 or IPv6 address',
    ],
  ],
  [
    'a missing argument',
    `${GOOD}Wait\n`,
    [
      'x.conf:2:1: an argument of Wait is missing: expected a time from 0 to 3600 seconds (a number, or one with ms, s, m, h or d)',
    ],
  ],
  [
    'an argument too many',
    `${GOOD}Wait 3 4\n`,
    ['x.conf:2:8: unexpected "4" after Wait, which takes 1 argument'],
  ],
  [
    'a duplicate',
    `${GOOD}Wait 3\nWait 4`,
    ['x.conf:3:1: Wait stands here twice: the first is in line 2'],
  ],
  [
    'a missing directive',
    'Wait 3\n',
    ['x.conf:2:1: virtual_server is missing: the file needs one'],
  ],
  [
    'a missing block',
    'virtual_server 10.0.0.1 80\n',
    ['x.conf:1:1: virtual_server needs a block: expected { after it'],
  ],
  ['a block too many', `${GOOD}Wait 3 { }`, ['x.conf:2:8: unexpected {: Wait takes no block']],
  [
    'a block without an end',
    'virtual_server 10.0.0.1 80 {\n',
    ['x.conf:1:28: this block is never closed: expected } before the end of the file'],
  ],
  ['a brace too many', `${GOOD}}\n`, ['x.conf:2:1: unexpected }: no block is open here']],
  [
    'a string without an end',
    `${GOOD}Names "a\nDebug Yes`,
    ['x.conf:2:7: this quoted string does not end on its line: expected a closing "'],
  ],
  [
    'what is refused',
    `${GOOD}Later { x y { } }`,
    ['x.conf:2:1: Later: not supported in this version'],
  ],
  [
    'a name from Object.prototype is as unknown as any other',
    `${GOOD}constructor 1`,
    [
      'x.conf:2:1: unknown directive "constructor" at the top of the file: expected one of virtual_server, Names, Wait, Debug',
    ],
  ],
  [
    'all of them, in the order of the file',
    'virtual_server 10.0.0.1 0 { }\nDebug maybe\nWiat 2\n',
    [
      'x.conf:1:25: "0" is not what virtual_server takes: expected a port from 1 to 65535',
      'x.conf:2:7: "maybe" is not what Debug takes: expected Yes or No',
      'x.conf:3:1: unknown directive "Wiat" at the top of the file: did you mean Wait?',
    ],
  ],
];
for (const [what, text, expected] of cases) {
  errors(what, () => assert.equal(problems(text), expected));
}

errors('a binary file and endless nesting end in a bounded message', () => {
  const noise = Array.from({ length: 5000 }, (_, i) => `\u0001${i}\n`).join('');
  assert.ok(problems(noise).length <= 21);
  assert.ok(problems('virtual_server 10.0.0.1 80 {\n'.repeat(10000)).length <= 21);
});

grammar.run();
errors.run();
