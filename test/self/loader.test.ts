// SPDX-License-Identifier: MIT
/** The program that fills the table of connections for `npm run bench -- sync`. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { command, Lab } from '../lab/lab.js';

const SOURCE = fileURLToPath(new URL('../../bench/sync/conntrack-load.c', import.meta.url));
const COUNT_FILE = '/proc/sys/net/netfilter/nf_conntrack_count';
const ENTRIES = 300;

const loader = suite('conntrack-load');

loader(
  'puts as many entries as it is told into its own namespace, and takes them out again',
  () => {
    if (!existsSync(COUNT_FILE)) return; // this kernel follows no connections
    const lab = new Lab();
    try {
      const program = lab.path('conntrack-load');
      command('clang', ['-O1', '-Wall', '-Wextra', '-Werror', '-o', program, SOURCE]);
      command('ip', ['netns', 'add', lab.namespace('a')]);
      const counts = (work: string) => {
        const script = `printf '${work}' | ${program} && cat ${COUNT_FILE}`;
        const net = `--net=/run/netns/${lab.namespace('a')}`;
        const ran = spawnSync('nsenter', [net, 'sh', '-c', script], { encoding: 'utf8' });
        if (ran.status !== 0) throw new Error(ran.stderr);
        const lines = ran.stdout.trim().split('\n');
        return {
          entries: Number(lines.pop()),
          times: lines.filter((line) => line !== 'done').length,
        };
      };
      assert.equal(counts(`insert 0 ${ENTRIES}\\n`), { entries: ENTRIES, times: 1 });
      assert.equal(counts('update 10 5 100\\n'), { entries: ENTRIES, times: 5 });
      assert.equal(counts('flush\\n'), { entries: 0, times: 1 });
      const again = `insert 0 1\\ninsert 0 1\\n`;
      assert.throws(() => counts(again), /refused/);
    } finally {
      lab.remove();
    }
  },
);

loader.run();
