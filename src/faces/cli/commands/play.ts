/** `choir play`: serves a page that trains small models in the browser, until Ctrl-C. */
import type { Command } from 'commander'
import { showServer } from '../display/server.ts'
import { type Io, interruptible } from '../io.ts'
import { jsonOption, numberOption, ranges } from '../options.ts'

interface PlayFlags {
  readonly port?: number
  readonly open?: true
  readonly json?: true
}

export function addPlay(program: Command, io: Io): void {
  program
    .command('play')
    .summary('train small models in a browser, and see their experts')
    .description(
      'Serves a page on which small models are trained in the browser, on its GPU (WebGPU): two settings side by side, ' +
        'with their loss, the loads of their experts, and which expert each token goes to. The text stays in the browser. ' +
        'A run that the page saves is a run directory for train --resume, eval and generate.',
    )
    .addOption(numberOption('--port <n>', 'port to listen on (default: 6007, or the next free one)', ranges.port))
    .option('--open', 'open the page in the browser')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir play --open

From another machine, through a tunnel (browsers have WebGPU only on localhost and over https):
  ssh -L 6007:localhost:6007 HOST choir play --port 6007

The page is also a folder of static files, dist/play in the package, for any web server.`,
    )
    .action((flags: PlayFlags) => run(io, flags))
}

async function run(io: Io, flags: PlayFlags): Promise<void> {
  const { port } = flags
  await interruptible(io, async (signal) => {
    const server = await io.operations.play({ ...(port !== undefined && { port }) })
    await showServer(io, 'play', server, flags, signal)
  })
}
