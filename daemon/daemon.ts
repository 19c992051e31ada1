// The daemon's life: opens the floors below, ties them together, and lets them go again.
import { Datapath, DEFAULT_TIMEOUTS } from '../kernel/datapath.js';
import { nodeId } from '../kernel/record/record.js';
import type { UpgradeReport } from '../kernel/upgrade.js';
import type { PeerChange, PeerInfo, SyncEvents } from '../sync/api.js';
import { Sync } from '../sync/engine.js';
import { present } from './addresses.js';
import { Announcer } from './announcer.js';
import { pause, turn } from './breath.js';
import { BusyTeller } from './busy.js';
import { Claims } from './claims.js';
import { loadSettings, type Settings } from './config.js';
import type { Hello, Role, TakeoverReason } from './control/protocol.js';
import { rememberedRole, rememberRole } from './control/role-file.js';
import { ControlServer } from './control/server.js';
import { Deferral } from './deferral.js';
import { Draining } from './draining.js';
import { DaemonError } from './error.js';
import { Fence } from './fence.js';
import { Follower } from './follower.js';
import { Guard } from './guard.js';
import { Handover } from './handover.js';
import { checkInterfaces, InterfaceWatch } from './interfaces.js';
import { loadKeys } from './key-file.js';
import { openLink, tellKeys } from './link.js';
import type { Log, LogCounters } from './log.js';
import { Nudge } from './nudge.js';
import { Ownership } from './ownership.js';
import { Prober } from './prober.js';
import { Recipient } from './recipient.js';
import { Rehearsal } from './rehearsal.js';
import { changes } from './reload.js';
import { Report } from './report.js';
import { Standby } from './standby.js';
import { Takeover } from './takeover.js';
import { TrackFile, type TrackState } from './track.js';
import { handlers, type VerbParts } from './verbs.js';
import { warmUp } from './warmup.js';
import { AddressWatch } from './watch.js';
import { clock, incarnationNow, random } from './world.js';

const CAUGHT_UP_LOOK_MS = 50;

type Parts = Awaited<ReturnType<Daemon['open']>>;

export class Daemon {
  /** Set while it starts, and from then on. */
  private parts: Parts | undefined;
  private stopping = false;
  private reloading: Promise<void> = Promise.resolve();
  /** The engine has been in sync once: what the peers owned at this start is known. */
  private caughtUp = false;

  constructor(
    private settings: Settings,
    private readonly log: Log,
    private readonly logCounters: LogCounters = { log_errors: 0, log_lost: 0 },
  ) {}

  /** Resolves when the daemon serves. Throws KernelError, SyncError, ControlError or DaemonError. */
  async start(): Promise<void> {
    const parts = await this.open();
    this.parts = parts;
    try {
      await this.bringUp(parts);
    } catch (error) {
      this.stopping = true;
      await this.letGo(parts);
      throw error;
    }
  }

  private async bringUp(parts: Parts): Promise<void> {
    const { datapath, follower, ownership, sync, watch, track, interfaces } = parts;
    // what it finds first: a node that has its addresses is not one that has lost them
    watch.start();
    ownership.start(datapath.adopted && watch.here.length > 0);
    interfaces.start();
    // A daemon that is restarted on the active node must not make VRRP think ill of it.
    this.keepTrack(track, watch.here.length > 0 ? 'inSync' : 'outOfSync');
    follower.start();
    this.setStandbyTime(parts);
    const { disableExternalCache, purgeTimeoutMs } = this.settings.sync;
    if (!disableExternalCache) await parts.standby.leaveAll(purgeTimeoutMs);
    await follower.resync('start');
    parts.prober.start();
    parts.busy.start();
    sync.start();
    this.caughtUp ||= sync.inSync;
    this.decideRole(parts);
    this.writeTrack();
    this.log.info(
      {
        adopted: datapath.adopted,
        incarnation: datapath.incarnation.toString(),
        interfaces: parts.interfaces.status.served,
        table: datapath.table.size,
        ...told(datapath.upgraded),
      },
      datapath.adopted ? 'ready, with the table that was there' : 'ready, with a new table',
    );
    const sealed = this.settings.keyFile !== undefined;
    void warmUp({ mode: sync.mode, sealed }, () => this.stopping);
  }

  /** The datapath and its splices go on. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    if (this.parts) await this.letGo(this.parts);
  }

  private async letGo(parts: Parts): Promise<void> {
    const { watch, control, ownership, follower, sync, link, datapath, track } = parts;
    watch.stop();
    parts.announcer.stop();
    parts.interfaces.stop();
    await control.close();
    await parts.prober.stop();
    await parts.nudge.stop();
    await parts.busy.stop();
    parts.deferral.stop();
    parts.standby.flush();
    parts.fence.stop();
    await ownership.stop();
    await follower.stop();
    await this.reloading;
    // With no daemon nobody commits: VRRP should not choose this node. The active one stays.
    if (watch.here.length === 0 && track.state !== undefined) this.keepTrack(track, 'outOfSync');
    track.stop();
    sync.stop();
    await turn(); // its last datagrams leave with the next turn
    link.close();
    datapath.close();
    this.log.info('stopped');
  }

  /** SIGHUP. A file with an error changes nothing. */
  reload(): void {
    this.reloading = this.reloading.then(() => this.readAgain());
  }

  private async readAgain(): Promise<void> {
    const { parts } = this;
    if (!parts || this.stopping) return;
    try {
      const change = changes(this.settings, loadSettings(this.settings.file));
      this.changeKeys(parts);
      const { settings } = change;
      const { kernel, failover } = settings;
      parts.datapath.setTimeouts({ ...kernel.timeouts });
      parts.datapath.debugLevel = kernel.debugLevel;
      parts.datapath.setGuard([...failover.virtualAddresses]);
      this.settings = settings;
      this.setStandbyTime(parts);
      parts.interfaces.replace(kernel.interfaces);
      parts.watch.replace(failover.virtualAddresses);
      parts.ownership.placed();
      parts.prober.restart();
      await this.resize(parts);
      const { applied, needsRestart } = change;
      this.log.info({ applied, needsRestart }, 'configuration read again');
    } catch (error) {
      const { message } = error as Error;
      this.log.error({ problems: message.split('\n') }, 'configuration not read again: as before');
    }
  }

  /** Without hot standby nobody says when what is held for another node ends. */
  private setStandbyTime({ datapath }: Parts): void {
    const { disableExternalCache, purgeTimeoutMs } = this.settings.sync;
    datapath.standbyMs = disableExternalCache ? 0 : purgeTimeoutMs;
  }

  /** Before anything else is changed: a key file with an error changes nothing either. */
  private changeKeys({ link: { seal } }: Parts): void {
    const { keyFile } = this.settings;
    if (!seal || keyFile === undefined) return;
    const keys = loadKeys(keyFile);
    seal.setKeys(keys);
    tellKeys(this.log, keys);
  }

  /** The table as large as the settings say; where it cannot be, settings that say how large it is. */
  private async resize({ datapath, interfaces }: Parts): Promise<void> {
    const { log, settings } = this;
    const { size } = datapath.table;
    const { tableSize } = settings.kernel;
    if (tableSize === size) return;
    const began = performance.now();
    try {
      interfaces.again();
      await datapath.resize(tableSize);
      interfaces.again(); // one that came meanwhile may have the old programs
      const took_ms = Math.round(performance.now() - began);
      const upgraded = told(datapath.upgraded);
      log.info(
        { code: 'TABLE_RESIZED', from: size, to: tableSize, took_ms, ...upgraded },
        'table resized',
      );
    } catch (error) {
      const { message } = error as Error;
      this.settings = { ...settings, kernel: { ...settings.kernel, tableSize: size } };
      log.error({ code: 'TABLE_NOT_RESIZED', size, wanted: tableSize, why: message }, 'as before');
    }
  }

  private async open() {
    const { settings, log } = this;
    const node = nodeId(settings.nodeName);
    // First, and refusing: a second daemon would take events from the one that runs.
    let verbs: VerbParts | undefined;
    const control = await ControlServer.listen({
      path: settings.socketPath,
      hello: () => this.hello(node),
      handlers: handlers(
        () => {
          if (verbs) return verbs;
          throw new DaemonError('STARTING', 'spliced is starting: try again in a moment');
        },
        (role) => this.remember(role),
      ),
    });
    try {
      checkInterfaces(settings.kernel.interfaces);
      // the interfaces are the watch's: it takes what is there, and what comes
      const datapath = await Datapath.open({ ...settings.kernel, interfaces: [], node });
      datapath.debugLevel = settings.kernel.debugLevel;
      let datagrams = 0;
      const link = await openLink(settings, {
        node,
        log,
        deliver: (datagram, path) => {
          datagrams++;
          sync.receive(datagram, path);
        },
        proved: () => sync.greet(),
      });
      const sync: Sync = new Sync({
        node,
        name: settings.nodeName,
        incarnation: incarnationNow(),
        epoch: datapath.epoch,
        clock,
        random,
        link: link.link,
        events: this.syncEvents(datapath),
        hashLimit: settings.hashLimit,
        ...settings.sync,
        verifyMs: settings.sync.mode === 'ALARM' ? 0 : settings.sync.verifyIntervalMs,
        yielded: datapath.answering !== 'always' && this.hasAddress,
      });
      const follower = new Follower(datapath, sync, log);
      const standby = new Standby(datapath, log);
      const deferral = new Deferral(
        datapath,
        settings.sync.defer ? settings.sync.deferTimeoutMs : 0,
      );
      const watch = new AddressWatch(settings.failover.virtualAddresses, (here, before) =>
        this.addressesChanged(here, before),
      );
      const interfaces = new InterfaceWatch(settings.kernel.interfaces, datapath, log);
      const draining = new Draining(datapath);
      const fence = new Fence({
        sync,
        log,
        nodeName: settings.nodeName,
        failover: () => this.settings.failover,
      });
      const guard = new Guard(datapath, () => this.settings.failover);
      const active = () =>
        ownership.role === 'primary' && !ownership.hasYielded && this.mayAnswer(watch);
      const nudging = { enabled: () => this.settings.failover.nudge, active };
      const nudge = new Nudge({ datapath, log, ...nudging });
      const busy = new BusyTeller({ datapath, sync, ...nudging });
      const announcer = new Announcer(log);
      const commitParts = {
        datapath,
        sync,
        follower,
        standby,
        log,
        commitTimeoutMs: () => this.settings.sync.commitTimeoutMs,
        datagrams: () => datagrams,
        committed: (entries: number) => prober.committed(entries),
      };
      const claims = settings.sync.disableExternalCache ? new Claims(commitParts) : undefined;
      const takeover = new Takeover({
        ...commitParts,
        guard,
        draining,
        fence,
        nudge,
        claims,
        answering: () => announcer.start(watch.here),
      });
      const ownership: Ownership = new Ownership({
        datapath,
        sync,
        follower,
        standby,
        guard,
        draining,
        takeover,
        log,
        failover: () => this.settings.failover,
        purgeTimeoutMs: () => this.settings.sync.purgeTimeoutMs,
        holdsAddress: () => watch.here.length > 0,
        roleChanged: (role) => {
          this.remember(role);
          this.writeTrack();
          if (role !== 'primary') announcer.stop();
        },
      });
      const prober: Prober = new Prober({
        datapath,
        log,
        active,
        periodMs: () => 1000 * (this.settings.kernel.timeouts.probe ?? DEFAULT_TIMEOUTS.probe),
        commitTimeoutMs: () => this.settings.sync.commitTimeoutMs,
      });
      const track = new TrackFile(settings.failover.trackFile);
      const handover = new Handover({
        draining,
        sync,
        ownership,
        track,
        watch,
        log,
        failover: () => this.settings.failover,
        restoreTrack: () => this.writeTrack(true),
      });
      const recipient = new Recipient({
        sync,
        ownership,
        handover,
        watch,
        log,
        failover: () => this.settings.failover,
        caughtUp: () => this.caughtUp,
        stopping: () => this.stopping,
      });
      const rehearsal = new Rehearsal({
        datapath,
        sync,
        node,
        nodeName: settings.nodeName,
        handover,
        watch,
        log,
        hotStandby: settings.sync.disableExternalCache,
      });
      const report = new Report({
        settings: () => this.settings,
        node,
        datapath,
        sync,
        follower,
        ownership,
        guard,
        takeover,
        fence,
        handover,
        interfaces,
        prober,
        nudge,
        standby,
        claims,
        deferral,
        announcer,
        track,
        log: this.logCounters,
        control: () => control,
      });
      verbs = {
        datapath,
        sync,
        follower,
        ownership,
        handover,
        rehearsal,
        report,
        claims,
        purgeTimeoutMs: () => this.settings.sync.purgeTimeoutMs,
        hasInternalCache: !settings.sync.disableInternalCache,
        stop: () => {
          log.info('stopping on request; the splices go on');
          void this.stop();
        },
      };
      const served = {
        watch,
        announcer,
        interfaces,
        prober,
        nudge,
        busy,
        standby,
        deferral,
        fence,
      };
      const moves = { handover, recipient };
      return { control, datapath, link, sync, follower, ownership, track, ...moves, ...served };
    } catch (error) {
      await control.close(0);
      throw error;
    }
  }

  private syncEvents(datapath: Datapath): SyncEvents {
    const { log } = this;
    return {
      demoted: (records) => this.parts?.ownership.demoted(records),
      ended: (records) => this.parts?.ownership.ended(records),
      syncChanged: (inSync) => {
        this.caughtUp ||= inSync;
        this.writeTrack();
      },
      peerChanged: (peer: PeerInfo, change: PeerChange) => {
        log.info({ peer: peer.name, change, records: peer.records }, 'peer');
        const { parts } = this;
        if (!parts) return;
        parts.deferral.peersChanged(parts.sync);
        if (change === 'in-sync' && this.settings.sync.disableExternalCache)
          void parts.standby.reconcile(parts.sync, peer.node);
      },
      ...this.kernelEvents(),
      offered: (peer, what, answer) => {
        if (this.parts) this.parts.recipient.offered(peer, what, answer);
        else answer({ outcome: 'refused', why: 'busy' });
      },
      yield: (to, epoch) => {
        this.parts?.announcer.stop();
        this.parts?.ownership.yield(to, epoch);
      },
      unclaimed: () => this.parts?.ownership.unclaimed(),
      epochChanged: (epoch) => {
        datapath.epoch = epoch;
      },
      readKernel: () => datapath.table.dump({ announced: true }),
      notice: (code, message) =>
        code === 'recovered' ? log.info({ code }, message) : log.warn({ code }, message),
    };
  }

  /** What the peers own, and what of ours they have, as far as the kernel is to know of it. */
  private kernelEvents() {
    return {
      standby: (records: Uint8Array) => this.parts?.standby.put(records),
      standbyGone: (records: Uint8Array) => this.parts?.standby.gone(records),
      replicated: (records: Uint8Array) => this.parts?.deferral.replicated(records),
    };
  }

  private get hasAddress(): boolean {
    return present(this.settings.failover.virtualAddresses).length > 0;
  }

  /** Whoever answers a virtual address answers this node; or nobody has said which those are. */
  private mayAnswer({ here }: AddressWatch): boolean {
    return here.length > 0 || this.settings.failover.virtualAddresses.length === 0;
  }

  private hello(node: number): Hello {
    const nodes: Record<string, string> = { [node]: this.settings.nodeName };
    for (const peer of this.parts?.sync.peers() ?? []) nodes[peer.node] = peer.name;
    return { node: this.settings.nodeName, nodes };
  }

  private writeTrack(afterHandover = false): void {
    const { parts, log } = this;
    if (!parts || (parts.handover.active && !afterHandover)) return;
    // The active node is what the others are held to: whatever it waits for, it must stay that.
    const active = parts.ownership.role === 'primary' || parts.watch.here.length > 0;
    const state = active || parts.sync.inSync ? 'inSync' : 'outOfSync';
    const before = parts.track.state;
    try {
      if (this.keepTrack(parts.track, state) && before !== state) log.info({ state }, 'track file');
    } catch (error) {
      log.error((error as Error).message);
    }
  }

  /** Whether it is written; else it will be, and the log says so. Throws DaemonError. */
  private keepTrack(track: TrackFile, state: TrackState): boolean {
    const problem = track.keep(state);
    if (problem) this.log.error({ state }, `${problem.message}; it is tried again`);
    return !problem;
  }

  /**
   * What VRRP or CARP decided before this start: by where the addresses are, and by what its script said
   * last where that cannot be told from them.
   */
  private decideRole(parts: Parts): void {
    const { ownership, watch } = parts;
    if (watch.here.length > 0) return; // a takeover is under way
    const known = this.settings.failover.virtualAddresses.length > 0;
    const said = rememberedRole(this.settings.socketPath);
    if (known) ownership.presume(said === 'fault' ? 'fault' : 'backup');
    else if (said === 'primary') void this.commitWhenCaughtUp(parts, 'told', () => true);
    else if (said !== undefined) ownership.presume(said);
  }

  private remember(role: Role): void {
    try {
      rememberRole(this.settings.socketPath, role);
    } catch (error) {
      this.log.warn((error as Error).message);
    }
  }

  /** What VRRP has really done. It says so itself by its script, a process or two later. */
  private addressesChanged(here: readonly string[], before: readonly string[]): void {
    const { parts, log } = this;
    if (!parts) return;
    log.info({ here }, 'virtual addresses of this node');
    parts.ownership.placed();
    if (here.length === 0) {
      if (parts.ownership.role === 'primary') void parts.ownership.setRole('backup');
    } else if (before.length === 0) {
      void this.commitWhenCaughtUp(parts, 'address', () => parts.watch.here.length > 0);
    } else if (here.some((address) => !before.includes(address))) {
      const { role, hasYielded } = parts.ownership;
      if (role === 'primary' && !hasYielded) parts.announcer.start(here);
    }
  }

  private async commitWhenCaughtUp(
    { ownership }: Parts,
    why: TakeoverReason,
    holds: () => boolean,
  ): Promise<void> {
    const due = (): boolean => !this.stopping && holds();
    // A daemon that has just started waits for what the peers own: the engine bounds that time.
    while (due() && !this.caughtUp) await pause(CAUGHT_UP_LOOK_MS);
    // meanwhile a peer may have turned out to be the one that serves
    if (due() && !ownership.hasYielded) await ownership.commit(why);
  }
}

/** How the pinned table or its programs were exchanged, if they were. */
function told(upgraded: UpgradeReport | undefined): Record<string, unknown> {
  if (!upgraded) return {};
  const { migrated, copied, frozenMs } = upgraded;
  return { upgraded: { migrated, copied, frozen_ms: Math.round(frozenMs * 10) / 10 } };
}
