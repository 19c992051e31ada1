// SPDX-License-Identifier: MIT
/** The frame of `npm run bench`: what it lists, what it refuses, and the JSON that it prints. */
import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { within } from '../support/within.js';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const frame = suite('bench');

interface Ran {
  status: number;
  out: string;
  err: string;
}

function bench(...args: string[]): Promise<Ran> {
  const ran = new Promise<Ran>((resolve) => {
    const argv = ['--import', 'tsx', 'bench/run.ts', ...args];
    execFile(process.execPath, argv, { cwd: root }, (error, out, err) => {
      resolve({ status: error ? Number(error.code) : 0, out, err });
    });
  });
  return within(20_000, `bench ${args.join(' ')}`, ran);
}

/** Started together: they are slow to start. */
const list = bench();
const unknown = bench('warp');
const unknownPart = bench('datapath', '--only', 'packet,warp');
const packet = bench('datapath', '--only', 'packet', '--quick', '--json');

frame('lists the benches when none is named', async () => {
  const { status, out } = await list;
  assert.is(status, 0);
  assert.match(out, /^datapath {2}\S/m);
  assert.match(out, /^sync {2}\S/m);
});

frame('refuses a bench that there is not', async () => {
  const { status, err } = await unknown;
  assert.is(status, 2);
  assert.match(err, "there is no bench 'warp'");
});

frame('refuses a part of a bench that there is not, and names those that there are', async () => {
  const { status, err } = await unknownPart;
  assert.is(status, 2);
  assert.match(err, /--only warp: .*packet/);
});

frame('prints one JSON object on standard output, and nothing else there', async () => {
  const { status, out, err } = await packet;
  assert.is(status, 0, err);
  const report = JSON.parse(out);
  assert.is(report.bench, 'datapath');
  assert.ok(Date.parse(report.at) > 0);
  assert.is(typeof report.machine.kernel, 'string');
  assert.ok(report.rows.length >= 2);
  for (const { ours, ...row } of report.rows) {
    assert.ok(ours > 0, `${row.name}: ${ours}`);
    assert.equal(
      { ...row, name: typeof row.name },
      { name: 'string', unit: 'ns', better: 'lower', peers: {}, aim: {}, holds: true },
    );
  }
});

frame.run();
