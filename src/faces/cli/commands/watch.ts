/** `choir watch`: serves the dashboard of runs until Ctrl-C. */
import type { Command } from 'commander'
import { showServer } from '../display/server.ts'
import { type Io, interruptible } from '../io.ts'
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
    .summary('show runs in a browser, live')
    .description(
      'Serves a dashboard of runs in the browser: curves, expert loads, and which expert each token goes to. It reads ' +
        'run directories and router traces of Megatron-Core, during training or later, and changes nothing in them.',
    )
    .argument('[dir...]', 'run directories, or folders of them (default: runs)')
    .addOption(numberOption('--port <n>', 'port to listen on (default: 6007, or the next free one)', ranges.port))
    .option(
      '--host <address>',
      'address to listen on (default: 127.0.0.1); one that other machines reach needs --token',
    )
    .option('--token <text>', 'secret that a browser must know')
    .addOption(
      listOption('--data <path>', 'text that runs were trained on, to show the experts of its tokens; repeatable'),
    )
    .option('--open', 'open the dashboard in the browser')
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
    await showServer(io, 'watch', server, flags, signal)
  })
}
