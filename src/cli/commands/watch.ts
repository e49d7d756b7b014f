/** `choir watch`: the dashboard of runs, live and finished, until Ctrl-C. */
import type { Command } from 'commander'
import { colorsFor, type Io, interruptible, untilAborted, writeJson } from '../io.ts'
import { jsonOption, listOption, numberOption, ranges } from '../options.ts'

interface WatchFlags {
  readonly port?: number
  readonly host?: string
  readonly token?: string
  readonly data?: readonly string[]
  readonly open?: true
  readonly json?: true
}

export function addWatch(program: Command, io: Io): void {
  program
    .command('watch')
    .summary('look at runs in a browser, live')
    .description(
      'Serves a dashboard of runs: curves, the load of experts, and where tokens go. It reads the files of run ' +
        'directories and of router traces of Megatron-Core, while they are written or later, and changes nothing.',
    )
    .argument('[dir...]', 'run directories, or folders of them (default: runs)')
    .addOption(numberOption('--port <n>', 'port to serve at (default: 6007, or the next that is free)', ranges.port))
    .option(
      '--host <address>',
      'address to bind to; other than of this machine alone it needs --token (default: 127.0.0.1)',
    )
    .option('--token <text>', 'answer only who knows this')
    .addOption(listOption('--data <path>', 'a text that runs were trained on, to follow its tokens; repeatable'))
    .option('--open', 'open the browser')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir watch --open
  choir watch runs/demo studies/quick
  choir watch /nfs/team/runs --host 0.0.0.0 --token "$(openssl rand -hex 16)"

From another machine, through a tunnel:
  ssh -L 6007:localhost:6007 HOST choir watch runs --port 6007`,
    )
    .action((folders: readonly string[], flags: WatchFlags) => run(io, folders, flags))
}

async function run(io: Io, folders: readonly string[], flags: WatchFlags): Promise<void> {
  const { port, host, token } = flags
  await interruptible(io, async (signal) => {
    const server = await io.operations.watch({
      ...(flags.data && { data: flags.data }),
      roots: folders.length > 0 ? folders : ['runs'],
      ...(port !== undefined && { port }),
      ...(host !== undefined && { host }),
      ...(token !== undefined && { token }),
    })
    try {
      const { address } = server
      if (flags.json) writeJson(io, { kind: 'watch', address })
      else io.stdout.write(`\n  ${colorsFor(io.stdout, io.env).bold(address)}\n\n  press Ctrl-C to end\n`)
      if (flags.open) io.openBrowser(address)
      await untilAborted(signal)
    } finally {
      await server.close()
    }
  })
}
