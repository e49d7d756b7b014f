/**
 * Measures the time from a command to its first result: the first step of a training, the first token of a generation,
 * a help text. Each command starts in a new process with a warm cache of data; results are medians over the turns.
 *
 *   npm run build && npx tsx bench/training/startup.ts
 *   npx tsx bench/training/startup.ts --against ../before         beside the build of another clone, in turns
 *   npx tsx bench/training/startup.ts --turns 1 --config tiny     a short run
 */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { median } from '../../src/core/averages.ts'
import { RunError } from '../../src/core/errors.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import { runCommand, tableText, turnsOption } from '../support/command.ts'
import { fileIn, resultFile, shownPath, thisMachine, writeJson } from '../support/results.ts'

interface Flags {
  readonly turns: number
  readonly config: string
  readonly against?: string
}

/** Milliseconds from the start of a process. */
type Milliseconds = number

export interface StartupRow {
  readonly command: string
  readonly result: string
  readonly ms: Milliseconds
  readonly turns: readonly Milliseconds[]
  /** Median time of the other clone. */
  readonly before?: Milliseconds
}

export interface StartupResult {
  readonly config: string
  readonly rows: readonly StartupRow[]
}

/** Times of the results of one process, by the result's name. */
type Times = Map<string, Milliseconds>

/** A command, and the results that its output shows. */
interface Measured {
  readonly command: string
  readonly args: readonly string[]
  /** The name of the result that a line of standard output shows. */
  resultOf(line: string): string | undefined
}

await runCommand(
  new Command('npx tsx bench/training/startup.ts')
    .description('Measures the time from a command to its first result.')
    .addOption(new Option('--config <name>', 'what is trained').default('demo'))
    .addOption(new Option('--against <clone>', 'folder of another clone of Choir; run npm run build in both'))
    .addOption(turnsOption())
    .action(measureAll),
)

async function measureAll({ turns, config, against }: Flags): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'choir-startup-'))
  const trees = against === undefined ? [fileIn('')] : [against, fileIn('')]
  const times = new Map<string, Milliseconds[][]>()
  try {
    // The first turn fills the cache of data and leaves a run to generate from.
    for (let turn = 0; turn <= turns; turn++)
      for (const [side, tree] of trees.entries()) {
        process.stderr.write(turn === 0 ? '  warming up ...\n' : `  turn ${turn} of ${turns} ...\n`)
        for (const measured of commandsOf(config, folder, join(folder, `run-${turn}-${side}`))) {
          const found = await timesOf(tree, measured)
          if (turn === 0) continue
          for (const [result, ms] of found) {
            const key = `${measured.command}\n${result}`
            const sides = times.get(key) ?? trees.map(() => [])
            sides[side]?.push(ms)
            times.set(key, sides)
          }
        }
      }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const rows = [...times].map(([key, sides]): StartupRow => {
    const [command = '', result = ''] = key.split('\n')
    const own = sides.at(-1) ?? []
    const row = { command, result, ms: median(own), turns: own.map(Math.round) }
    return sides.length === 1 ? row : { ...row, before: median(sides[0] ?? []) }
  })
  const file = resultFile('startup', config !== 'demo' || turns < 5)
  await writeJson(file, { machine: thisMachine(), config, rows } satisfies StartupResult & { machine: unknown })
  process.stdout.write(`${report(rows)}\n  ${shownPath(file)}\n`)
}

function commandsOf(config: string, folder: string, run: string): Measured[] {
  const generated = join(folder, 'run-0-0')
  const byKind = (names: Readonly<Record<string, string>>) => (line: string) =>
    names[(JSON.parse(line) as { kind: string }).kind]
  const shown = (command: string): Measured => ({
    command,
    args: command.split(' ').slice(1),
    resultOf: () => 'first output',
  })
  return [
    {
      command: `choir train ${config}`,
      args: ['train', config, '--out', run, '--json', '--steps', '1', '--set', 'train.evalBatches=1'],
      resultOf: byKind({ start: 'ready to train', train: 'first step', checkpoint: 'checkpoint' }),
    },
    {
      command: 'choir generate RUN',
      args: ['generate', generated, '--prompt', 'The people', '--tokens', '8', '--json'],
      resultOf: byKind({ piece: 'first token' }),
    },
    shown('choir inspect demo'),
    shown('choir train --help'),
    shown('choir --help'),
  ]
}

/** Runs a command to its end. @throws RunError if it fails */
function timesOf(tree: string, { args, resultOf }: Measured): Promise<Times> {
  const times: Times = new Map()
  const begin = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(tree, 'bin/choir.js'), ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let rest = ''
    child.stdout.on('data', (data: Buffer) => {
      const now = performance.now() - begin
      const lines = (rest + data).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const result = resultOf(line)
        if (result !== undefined && !times.has(result)) times.set(result, now)
      }
    })
    child.once('error', reject)
    child.once('close', (code) => {
      times.set('exit', performance.now() - begin)
      if (code === 0) resolve(times)
      else reject(new RunError(`choir ${args.join(' ')} ended with exit code ${code}`))
    })
  })
}

function report(rows: readonly StartupRow[]): string {
  const compares = rows.some(({ before }) => before !== undefined)
  const head = ['command', 'to', 'ms', 'range', ...(compares ? ['other clone'] : [])]
  const cells = rows.map(({ command, result, ms, turns, before }) => [
    command,
    result,
    fixed(ms, 0),
    `${Math.min(...turns)} to ${Math.max(...turns)}`,
    ...(compares ? [before === undefined ? '' : fixed(before, 0)] : []),
  ])
  return tableText([head, ...cells], 'llrrr')
}
