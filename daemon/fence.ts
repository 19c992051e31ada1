// What keeps a takeover from being one of two: each peer that is alive has yielded, or it has been
// stopped by FenceCommand; or neither, and then it is said.
import type { FencedPeer, SyncEngine } from '../sync/api.js';
import { runCommand } from './command.js';
import type { FailoverSettings } from './config.js';
import type { FenceStatus, FenceWay } from './control/protocol.js';
import type { Log } from './log.js';

export interface FenceParts {
  readonly sync: SyncEngine;
  readonly log: Log;
  readonly nodeName: string;
  readonly failover: () => FailoverSettings;
}

export class Fence {
  readonly counters = {
    fence_commands: 0, // runs of FenceCommand
    fence_by_command: 0, // ... that have succeeded
    fence_command_failed: 0,
    fence_command_timeouts: 0,
    fence_failed: 0, // peers that were alive, and have neither yielded nor been stopped
  };
  /** When FenceCommand has stopped a peer: as long as nothing is heard of it, it need not again. */
  private readonly stoppedAt = new Map<number, number>();
  private readonly abort = new AbortController();

  constructor(private readonly parts: FenceParts) {}

  /** A command that runs is killed. */
  stop(): void {
    this.abort.abort();
  }

  /** What has become of the peers, once all have yielded or nothing more can be done. */
  async settle(): Promise<FenceStatus[]> {
    const { sync, failover } = this.parts;
    const { fenceTimeoutMs } = failover();
    const outcome = await new Promise<Parameters<Parameters<typeof sync.settle>[1]>[0]>((resolve) =>
      sync.settle(fenceTimeoutMs, resolve),
    );
    const statuses = (peers: readonly FencedPeer[], way: FenceWay): FenceStatus[] =>
      peers.map(({ name }) => ({ peer: name, way }));
    for (const { name } of outcome.unable) this.warnUnable(name);
    // whoever has yielded itself has nothing to enforce
    const silent =
      outcome.beaten === undefined
        ? await Promise.all(outcome.silent.map((peer) => this.enforce(peer)))
        : statuses(outcome.silent, 'silent');
    const { answered, unable } = outcome;
    return [...statuses(answered, 'yielded'), ...silent, ...statuses(unable, 'unable')];
  }

  private async enforce(peer: FencedPeer): Promise<FenceStatus> {
    const { fenceCommand, fenceTimeoutMs } = this.parts.failover();
    if (this.isStopped(peer)) return { peer: peer.name, way: 'command' };
    const way = fenceCommand.length === 0 ? 'silent' : await this.command(peer);
    if (way !== 'command') this.warnUnfenced(peer, way, fenceTimeoutMs);
    return { peer: peer.name, way };
  }

  private isStopped({ node }: FencedPeer): boolean {
    const at = this.stoppedAt.get(node);
    const peer = this.parts.sync.peers().find((one) => one.node === node);
    return at !== undefined && peer !== undefined && performance.now() - peer.lastHeardMs < at;
  }

  private async command(peer: FencedPeer): Promise<FenceWay> {
    const { log, nodeName, failover, sync } = this.parts;
    const { fenceCommand, fenceCommandTimeoutMs } = failover();
    this.counters.fence_commands++;
    log.warn(
      { code: 'FENCE_COMMAND', peer: peer.name, command: fenceCommand },
      `${peer.name} was alive and has not yielded: running FenceCommand`,
    );
    const result = await runCommand({
      argv: fenceCommand,
      env: {
        SPLICED_NODE: nodeName,
        SPLICED_PEER: peer.name,
        SPLICED_PEER_ID: peer.node.toString(16).padStart(8, '0'),
        SPLICED_EPOCH: String(sync.epoch),
      },
      timeoutMs: fenceCommandTimeoutMs,
      signal: this.abort.signal,
    });
    const told = { code: 'FENCE_COMMAND', peer: peer.name, ...result };
    if (result.outcome === 'done') {
      this.counters.fence_by_command++;
      this.stoppedAt.set(peer.node, performance.now());
      log.info(told, 'FenceCommand has succeeded');
      return 'command';
    }
    if (result.outcome === 'timeout') this.counters.fence_command_timeouts++;
    else this.counters.fence_command_failed++;
    log.error(told, 'FenceCommand has failed');
    return result.outcome;
  }

  private warnUnfenced({ name }: FencedPeer, way: FenceWay, fenceTimeoutMs: number): void {
    this.counters.fence_failed++;
    const why = way === 'silent' ? 'no FenceCommand is set' : 'FenceCommand has failed';
    this.parts.log.warn(
      { code: 'NOT_FENCED', peer: name },
      `${name} was alive, has not yielded within ${fenceTimeoutMs} ms, and ${why}: going on; both may answer for the virtual addresses until they hear each other`,
    );
  }

  private warnUnable(name: string): void {
    this.parts.log.warn(
      { code: 'NOT_FENCED', peer: name },
      `${name} runs an older version, which cannot be asked to yield: going on`,
    );
  }
}
