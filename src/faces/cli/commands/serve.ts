/** `choir serve`: serves models by HTTP, in the shape of OpenAI's API, until Ctrl-C. */
import type { Command } from 'commander'
import { bytes, plural } from '../../../core/text/numbers.ts'
import type { OnMessage } from '../../../train/run/messages.ts'
import type { ModelServer } from '../../serve/server.ts'
import { labelled } from '../display/display.ts'
import { print, printNote } from '../display/print.ts'
import { colorsFor, Interrupted, type Io, interruptible, untilAborted } from '../io.ts'
import { writeJson } from '../json.ts'
import {
  bytesOption,
  durationOption,
  jsonOption,
  type ModelFlags,
  numberOption,
  ranges,
  withModelOptions,
} from '../options.ts'

interface ServeFlags extends Omit<ModelFlags, 'math'> {
  readonly port?: number
  readonly host?: string
  readonly token?: string
  readonly streams: number
  readonly contextMemory?: number
  readonly queue: number
  readonly grace: number
  readonly json?: true
}

export function addServe(program: Command, io: Io): void {
  const command = program
    .command('serve')
    .summary("serve models to programs, in the shape of OpenAI's API")
    .description(
      "Serves models by HTTP in the shape of OpenAI's API: completions, chats, streams, log-probabilities, and the experts " +
        'of each token. Several texts are written at the same time.',
    )
    .argument('<model...>', 'run directories, folders of models of transformers, or GGUF files')
    .addOption(numberOption('--port <n>', 'port to listen on (default: 8000, or the next free one)', ranges.port))
    .option(
      '--host <address>',
      'address to listen on (default: 127.0.0.1); one that other machines reach needs --token',
    )
    .option('--token <key>', 'key that clients must send, as the API key of OpenAI')
    .addOption(
      numberOption('--streams <n>', 'texts that are written at the same time', ranges.positiveInteger).default(4),
    )
    .addOption(
      bytesOption(
        '--context-memory <size>',
        'memory for the keys and values of all texts of a model, such as 4GiB, at least for one whole context; a text waits until there is room for all of it (default: whole contexts for all texts)',
      ),
    )
    .addOption(
      numberOption('--queue <n>', 'texts that may wait; further ones are refused (429)', ranges.count).default(64),
    )
    .addOption(
      durationOption('--grace <time>', 'time that running texts have to end after Ctrl-C or SIGTERM').default(
        10,
        '10s',
      ),
    )
  withModelOptions(command, { math: false })
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  choir serve runs/demo
  choir serve Qwen3-30B-A3B.gguf runs/demo --streams 32 --context-memory 8GiB
  choir serve runs/demo --host 0.0.0.0 --token "$(openssl rand -hex 16)"

Ask it, from another terminal:
  curl localhost:8000/v1/completions -H 'content-type: application/json' \\
    -d '{"prompt": "The people", "max_tokens": 20, "choir": {"routing": true}}'

A text depends on its request and seed alone, whatever is written beside it: it is that of choir generate.
docs/serve.md lists the fields of requests. Ctrl-C or SIGTERM ends the server when the running texts have
ended, or after --grace; a second Ctrl-C ends it at once.`,
    )
    .action((models: readonly string[], flags: ServeFlags) => run(io, models, flags))
}

async function run(io: Io, models: readonly string[], { json, ...options }: ServeFlags): Promise<void> {
  const onMessage: OnMessage = (event) => {
    if (event.kind === 'notice' && json) writeJson(io, event)
    else if (event.kind !== 'prepare') printNote(io, event.message)
    else if (!json) io.stderr.write(`  ${event.message}\n`)
  }
  await interruptible(io, async (signal) => {
    let server: ModelServer
    try {
      server = await io.operations.serve({ ...options, models, onMessage, signal })
    } catch (error) {
      throw signal.aborted ? new Interrupted() : error
    }
    try {
      show(io, server, options, json)
      await untilAborted(signal)
    } finally {
      await server.close()
    }
  })
}

function show(
  io: Io,
  { address, models }: ModelServer,
  { streams, contextMemory, queue }: Pick<ServeFlags, 'streams' | 'contextMemory' | 'queue'>,
  json?: true,
) {
  if (json) return writeJson(io, { kind: 'serve', address, models, streams, queue })
  const colors = colorsFor(io.stdout, io.env)
  const rows = models.map(({ id, directory, step }): [string, string] => [
    id,
    `${directory}${step > 0 ? `, step ${step}` : ''}`,
  ])
  io.stdout.write(`\n  ${colors.bold(address)}\n\n`)
  const memory = contextMemory === undefined ? '' : ` in ${bytes(contextMemory)}`
  const more: [string, string][] = [
    ['places', `${plural(streams, 'text')} at a time${memory}, ${queue} waiting`],
    ['experts', `${new URL('/', address).href} shows which ones the texts use`],
  ]
  print(io, labelled([...rows, ...more], colors))
  io.stdout.write('\n  press Ctrl-C to end\n')
}
