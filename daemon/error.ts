// What keeps the daemon, or one of its operations, from doing what was asked.

export type DaemonErrorCode =
  | 'USAGE' // the command line
  | 'START' // the process that -d started did not come up
  | 'STARTING' // asked before the daemon was ready
  | 'LOG_FILE' // cannot be opened
  | 'TRACK_FILE' // cannot be written
  | 'BUSY' // an operation that excludes this one is under way
  | 'ARGUMENT' // of a request on the control socket
  | 'DISABLED' // by the configuration
  | 'LATE' // a script's word that the addresses belie
  | 'NOT_OWNER' // hand over what this node does not have
  | 'NOT_IN_SYNC' // the peer would not have everything
  | 'YIELDED' // a peer has taken over at the same time
  | 'NO_PEER'; // nobody to hand over to

/** The message is a sentence for the operator, with the remedy. */
export class DaemonError extends Error {
  constructor(
    readonly code: DaemonErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'DaemonError';
  }
}
