import koffi from 'koffi';
import { messageOf, OperatingError } from '../base/operating-error.ts';
import type { RunNft } from '../dataplane/nft.ts';

/** NFT_CTX_OUTPUT_JSON of libnftables(3). */
const outputJson = 1 << 4;

/** libnftables within this process: a transaction costs a fraction of a millisecond, where spawning `nft` costs tens. */
export function openNftables(): RunNft {
  const library = load();
  const contextNew = library.func('void *nft_ctx_new(uint32_t flags)');
  const bufferOutput = library.func('int nft_ctx_buffer_output(void *context)');
  const bufferError = library.func('int nft_ctx_buffer_error(void *context)');
  const setFlags = library.func('void nft_ctx_output_set_flags(void *context, uint32_t flags)');
  const runBuffer = library.func('int nft_run_cmd_from_buffer(void *context, const char *commands)');
  const output = library.func('const char *nft_ctx_get_output_buffer(void *context)');
  const errors = library.func('const char *nft_ctx_get_error_buffer(void *context)');

  const context: unknown = contextNew(0);
  if (!context || bufferOutput(context) !== 0 || bufferError(context) !== 0) {
    throw new OperatingError('nftables', 'libnftables gave no context');
  }
  setFlags(context, outputJson);
  return (commands: string): string => {
    const failed = runBuffer(context, commands) !== 0;
    const listed: string = output(context);
    const [reason = ''] = (errors(context) as string).split('\n');
    if (failed) throw new OperatingError('nftables', `nftables refused a transaction: ${reason}`);
    return listed;
  };
}

function load(): ReturnType<typeof koffi.load> {
  try {
    return koffi.load('libnftables.so.1');
  } catch (cause) {
    throw new OperatingError('nftables', `libnftables cannot be loaded: ${messageOf(cause)}`, {
      remedy: 'install it: apt-get install nftables',
      cause,
    });
  }
}
