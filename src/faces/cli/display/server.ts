/** Serves a page until Ctrl-C. */
import type { PageServer } from '../../http/serve.ts'
import { colorsFor, type Io, untilAborted } from '../io.ts'
import { writeJson } from '../json.ts'

interface ServerFlags {
  readonly open?: true
  readonly json?: true
}

/** Prints the address, opens it with `--open`, waits until `signal` is aborted, and closes the server. */
export async function showServer(
  io: Io,
  kind: 'watch' | 'play',
  server: PageServer,
  { open, json }: ServerFlags,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { address } = server
    if (json) writeJson(io, { kind, address })
    else io.stdout.write(`\n  ${colorsFor(io.stdout, io.env).bold(address)}\n\n  press Ctrl-C to end\n`)
    if (open) io.openBrowser(address)
    await untilAborted(signal)
  } finally {
    await server.close()
  }
}
