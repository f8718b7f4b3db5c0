import { Transfers } from './transfers.ts';

/** Where an agent listens for applications unless the environment says otherwise. */
export const defaultSocketPath = '/run/manycast/sdk.socket';

let transfers: Transfers | null = null;

/** Those of this process: one connection to the agent serves all its servers. */
export function processTransfers(): Transfers {
  transfers ??= new Transfers(process.env.MANYCAST_SDK_SOCKET ?? defaultSocketPath);
  return transfers;
}
