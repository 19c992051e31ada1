// SPDX-License-Identifier: MIT
/** The addresses of two-legs.ts, for this process and for the two ends. */

export type Family = 4 | 6;

/** Both ends of one leg's link. */
export interface Path {
  /** Of the proxy. */
  here: string;
  there: string;
}

export const clientLeg = {
  4: { here: '10.1.0.100', there: '10.1.0.2' },
  6: { here: 'fd00:1::100', there: 'fd00:1::2' },
  /** Where the proxy listens, by the family of the leg to the server. */
  portTowards: { 4: 80, 6: 86 },
};

export const serverLeg = {
  4: { here: '10.2.0.100', there: '10.2.0.2' },
  6: { here: 'fd00:2::100', there: 'fd00:2::2' },
  port: 9000,
};
