// SPDX-License-Identifier: MIT
/** Loses TCP segments of one size on their way in, so that the later ones are out of order. */
import { run } from '../support/isolate.js';

const HEADERS = 20 + 32; // IPv4; TCP with timestamps

export function loseSegment(payload: number): void {
  const rule = `ip length ${HEADERS + payload} counter drop`;
  run('nft', `table ip lose { chain i { type filter hook input priority 0; ${rule}; }; }`);
}

/** How often; each time but the first it was sent again. */
export function segmentsLost(): number {
  return Number(/counter packets (\d+)/.exec(run('nft', 'list', 'table', 'ip', 'lose'))?.[1]);
}

export function loseNone(): void {
  run('nft', 'flush', 'ruleset');
}
