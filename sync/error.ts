// What keeps the replication from being set up. What comes from the network never throws: it is
// counted by name (Rejection in wire.ts).

export type SyncErrorCode =
  | 'MODE' // no such mode of synchronisation
  | 'OPTION' // a number out of its range
  | 'INTERFACE' // the interface of the link is not there or has no address
  | 'GROUP' // not a multicast address, or the group cannot be joined
  | 'SOCKET'; // the socket of the link cannot be opened or set up

/** The message is a sentence for the operator, with the remedy. */
export class SyncError extends Error {
  constructor(
    readonly code: SyncErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'SyncError';
  }
}
