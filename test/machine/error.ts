// SPDX-License-Identifier: MIT
/** What keeps a machine from being made or run; the message is for the user. */
export class MachineError extends Error {}
