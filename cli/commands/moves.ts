// The addresses to the other node: for good, or to see what that is like.
import { createInterface } from 'node:readline/promises';
import * as Flags from '@oclif/core/flags';
import type { Listener } from '../../daemon/control/client.js';
import { jsonFlag, Splicectl } from '../base.js';
import { describeHandover, describeRehearsal } from '../describe-moves.js';
import { UsageError } from '../error.js';
import { writeLine } from '../output.js';
import { plain } from '../words.js';

/** A step under way may take as long as a commit of a full table, without a word. */
function showing(show: (sentence: string) => Promise<void>): Listener {
  return {
    json: ({ progress }) => {
      if (typeof progress === 'string') return show(plain(progress));
    },
  };
}

export class Handover extends Splicectl {
  static override summary = 'give the virtual addresses to the peer; no connection is reset';

  async run(): Promise<void> {
    const { flags } = await this.parse(Handover);
    const result = await this.ask(flags, 'handover', {}, showing(writeLine));
    await writeLine(describeHandover(result));
  }
}

export class Rehearse extends Splicectl {
  static override summary =
    'a takeover now, measured: what is kept, what is lost, how long it takes';
  static override flags = {
    json: jsonFlag,
    check: Flags.boolean({ description: 'only what a takeover would find; nothing is moved' }),
    yes: Flags.boolean({
      description: 'do not ask before the addresses move',
      exclusive: ['check'],
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Rehearse);
    if (!flags.check && !flags.yes) await confirm();
    const show = async (sentence: string): Promise<void> => {
      if (!flags.json) await writeLine(sentence);
    };
    const moves = flags.check ? 'no' : 'yes';
    const report = await this.ask(flags, 'rehearse', { moves }, showing(show));
    await writeLine(flags.json ? JSON.stringify(report) : describeRehearsal(report).join('\n'));
    if (!report.ok) process.exitCode = 1;
  }
}

async function confirm(): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new UsageError(
      'rehearse moves the addresses of a pair in service: give --yes, or --check',
    );
  }
  const question = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await question.question(
      'The virtual addresses move to the other node, now and for good. Go on? [y/N] ',
    );
    if (!/^y(es)?$/i.test(answer.trim())) throw new UsageError('nothing has been moved');
  } finally {
    question.close();
  }
}
