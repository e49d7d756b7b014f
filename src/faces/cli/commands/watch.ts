/** `choir watch`: serves the dashboard of runs until Ctrl-C, or with `--share` writes one file about a run. */
import { pathToFileURL } from 'node:url'
import { type Command, Option } from 'commander'
import { UsageError } from '../../../core/errors.ts'
import { print, printNote } from '../display/print.ts'
import { showServer } from '../display/server.ts'
import { sharedEvent, sharedText } from '../display/shared.ts'
import { colorsFor, type Io, interruptible, untilInterrupted } from '../io.ts'
import { writeJson } from '../json.ts'
import { jsonOption, listOption, numberOption, ranges } from '../options.ts'

interface WatchFlags {
  readonly port?: number
  readonly host?: string
  readonly token?: string
  readonly data?: readonly string[]
  readonly share?: true
  readonly out?: string
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
    .option('--share', 'write one file about one run, which opens in any browser without a server, and end')
    .addOption(new Option('--out <file>', 'with --share: new file to write (default: the name of the run, .html)'))
    .option('--open', 'open the dashboard, or the file, in the browser')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir watch --open
  choir watch runs/demo studies/quick
  choir watch runs/demo --share --out demo.html    one file to send: experts over time, moments, loss
  choir watch /nfs/team/runs --host 0.0.0.0 --token "$(openssl rand -hex 16)"

From another machine, through a tunnel:
  ssh -L 6007:localhost:6007 HOST choir watch runs --port 6007`,
    )
    .action((folders: readonly string[], flags: WatchFlags) =>
      flags.share ? share(io, folders, flags) : run(io, folders, flags),
    )
}

async function run(io: Io, folders: readonly string[], flags: WatchFlags): Promise<void> {
  const { port, host, token } = flags
  if (flags.out !== undefined)
    throw new UsageError('--out has no effect without --share (expected choir watch RUN --share --out FILE)')
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

async function share(
  io: Io,
  folders: readonly string[],
  { out, data, open, json, ...flags }: WatchFlags,
): Promise<void> {
  const given = (['port', 'host', 'token'] as const).find((name) => flags[name] !== undefined)
  if (given !== undefined) throw new UsageError(`--${given} has no effect with --share, which serves nothing`)
  const [directory, ...others] = folders
  if (directory === undefined || others.length > 0)
    throw new UsageError(
      `--share makes a page of one run; ${folders.length} were named (expected choir watch RUN --share)`,
    )
  await untilInterrupted(io, async (signal) => {
    const shared = await io.operations.share(directory, {
      ...(out !== undefined && { out }),
      ...(data && { data }),
      signal,
      onMessage: (event) => {
        if (event.kind !== 'prepare') printNote(io, event.message)
        else if (!json) io.stderr.write(`  ${event.message}\n`)
      },
    })
    if (json) writeJson(io, sharedEvent(shared))
    else print(io, sharedText(shared, colorsFor(io.stdout, io.env)))
    if (open) io.openBrowser(pathToFileURL(shared.file).href)
  })
}
