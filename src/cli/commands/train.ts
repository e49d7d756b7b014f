/** `choir train`: from a configuration to a run directory, followed live. */
import { existsSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import type { Command } from 'commander'
import { isPreset, presets } from '../../config/presets.ts'
import type { RunConfig } from '../../config/run-config.ts'
import { UsageError } from '../../errors.ts'
import { loadConfig, loadRunConfig } from '../../run/load-config.ts'
import { count, duration, fixed, grouped, percent } from '../../text/numbers.ts'
import type { TrainSummary } from '../../train/events.ts'
import { type Dashboard, dashboardOf } from '../beside.ts'
import { BarDisplay } from '../display/bar.ts'
import { droplessBeside } from '../display/capacities.ts'
import { type Display, labelled } from '../display/display.ts'
import { JsonDisplay } from '../display/json.ts'
import { LinesDisplay } from '../display/lines.ts'
import {
  type Colors,
  colorsFor,
  Interrupted,
  type Io,
  interruptible,
  isTerminal,
  untilAborted,
  writeJson,
} from '../io.ts'
import { wrap } from '../layout.ts'
import {
  type EngineFlags,
  engineSets,
  jsonOption,
  mathOption,
  setOption,
  threadsOption,
  traceOption,
} from '../options.ts'
import { profileText } from '../profile.ts'
import { lowerBoundNote, sourceName } from '../summary.ts'
import { writeTrace } from '../trace.ts'

interface TrainFlags extends EngineFlags {
  readonly set?: readonly string[]
  readonly out?: string
  readonly resume?: string
  readonly json?: true
  readonly profile?: true
  readonly trace?: string
  /** Undefined: as the place suggests. */
  readonly sample?: boolean
  readonly watch?: true
}

/** Everything that a training to start or to continue needs. */
interface Job {
  readonly name: string
  readonly preset?: string
  readonly config: RunConfig
  readonly directory: string
  readonly resume: boolean
}

export function addTrain(program: Command, io: Io): void {
  const names = Object.entries(presets).map(([name, { description }]) => `  ${name.padEnd(6)} ${description}`)
  program
    .command('train')
    .summary('train a model')
    .description('Trains a sparse expert language model and writes a run directory.')
    .argument('[config]', 'a preset, or a YAML or JSON file (default: demo)')
    .addOption(setOption())
    .option('--out <dir>', 'run directory to write (default: runs/NAME, numbered when taken)')
    .option('--resume <dir>', 'continue the run in this directory from its newest checkpoint')
    .addOption(threadsOption())
    .addOption(mathOption())
    .addOption(jsonOption())
    .option('--profile', 'at the end, show where the time of a step went: by op, layer and provider')
    .addOption(traceOption())
    .option('--sample', 'at the end, show text that the model generates (default: on a terminal, and for the demo)')
    .option('--no-sample', 'show none')
    .option('--watch', 'serve the dashboard of the run meanwhile, on a terminal also afterwards (see: choir watch)')
    .addHelpText(
      'after',
      `
Presets:
${names.join('\n')}

Examples:
  choir train demo --watch
  choir train S --set train.steps=500 --set model.moe.k=2 --out runs/top-2
  choir train my-run.yaml --set model.moe=null --math bf16
  choir train --resume runs/demo
  choir train tiny --json | tail -1`,
    )
    .action((config: string | undefined, flags: TrainFlags) => run(io, config, flags))
}

async function run(io: Io, source: string | undefined, flags: TrainFlags): Promise<void> {
  const job = await prepare(source, flags)
  const dashboard = flags.watch && (await dashboardOf(io, job.directory, job.config.data.source))
  try {
    if (dashboard) tellAddress(io, dashboard, flags)
    await follow(io, job, flags)
    if (dashboard && !flags.json && isTerminal(io.stdout, io.env)) await keepServing(io, dashboard)
  } finally {
    if (dashboard) await dashboard.stop()
  }
}

function tellAddress(io: Io, { address }: Dashboard, flags: TrainFlags): void {
  if (flags.json) writeJson(io, { kind: 'watch', address })
  else io.stdout.write(`  ${colorsFor(io.stdout, io.env).dim('dashboard')}  ${address}\n`)
}

/** A finished run is looked at as well. */
async function keepServing(io: Io, { address }: Dashboard): Promise<void> {
  io.stdout.write(`\n  the dashboard is still there: ${address}\n  press Ctrl-C to end\n`)
  await interruptible(io, untilAborted)
}

async function follow(io: Io, job: Job, flags: TrainFlags): Promise<void> {
  const colors = colorsFor(io.stdout, io.env)
  const display = displayFor(io, job, flags, colors)
  const summary = await train(io, job, flags, display)
  if (flags.json) {
    const { profile, trace, ...rest } = summary
    writeJson(io, { kind: 'summary', ...rest })
    if (profile && flags.profile) writeJson(io, { kind: 'profile', ...profile })
  } else {
    io.stdout.write(summaryText(summary, colors))
    if (summary.profile && flags.profile) io.stdout.write(profileText(summary.profile, colors, io.stdout.columns))
  }
  if (summary.trace && flags.trace !== undefined) {
    await writeTrace(flags.trace, `choir train ${job.name}`, summary.trace)
    if (flags.json) writeJson(io, { kind: 'trace', path: flags.trace })
    else io.stdout.write(`\n  ${colors.dim('trace')}  ${flags.trace} (open it at ui.perfetto.dev)\n`)
  }
  if (summary.interrupted) {
    const again = `${io.self} train --resume ${quoted(summary.directory)}`
    io.stderr.write(`choir: stopped after step ${summary.step}; continue with: ${again}\n`)
    throw new Interrupted()
  }
  const wanted = flags.sample ?? (!flags.json && (job.preset === 'demo' || isTerminal(io.stdout, io.env)))
  if (wanted) await sample(io, job, summary.directory, flags, colors)
}

async function prepare(source: string | undefined, flags: TrainFlags): Promise<Job> {
  const sets = [...(flags.set ?? []), ...engineSets(flags)]
  if (flags.resume !== undefined) {
    if (source !== undefined || flags.out !== undefined)
      throw new UsageError(
        'invalid --resume: a run continues with its own configuration, in its own directory (leave out CONFIG and --out)',
      )
    const config = await loadRunConfig(flags.resume, sets)
    return { name: basename(flags.resume), config, directory: flags.resume, resume: true }
  }
  const chosen = source ?? 'demo'
  const config = await loadConfig(chosen, sets)
  if (flags.out !== undefined && existsSync(join(flags.out, 'config.json')))
    throw new UsageError(
      `invalid --out: "${flags.out}" already holds a run (continue it with --resume ${quoted(flags.out)}, or choose another)`,
    )
  const name = basename(chosen, extname(chosen))
  const directory = flags.out ?? freeDirectory(name)
  return { name, config, directory, resume: false, ...(isPreset(chosen) ? { preset: chosen } : {}) }
}

/** runs/demo, or runs/demo-2, runs/demo-3, ... when that is taken. */
function freeDirectory(name: string): string {
  const first = join('runs', name)
  let directory = first
  for (let i = 2; existsSync(directory); i++) directory = `${first}-${i}`
  return directory
}

function displayFor(io: Io, job: Job, flags: TrainFlags, colors: Colors): Display {
  if (flags.json) return new JsonDisplay(io)
  if (isTerminal(io.stdout, io.env)) return new BarDisplay(io, job.config, job.name, colors)
  return new LinesDisplay(io, job.config, job.name, colors)
}

async function train(io: Io, job: Job, flags: TrainFlags, display: Display) {
  try {
    return await interruptible(
      io,
      (signal) =>
        io.operations.train(job.config, {
          directory: job.directory,
          resume: job.resume,
          profile: flags.profile ?? flags.trace !== undefined,
          signal,
          onEvent: (event) => display.event(event),
        }),
      {
        tell: () => display.note('finishing the step and saving ... press Ctrl-C again to stop at once'),
        leave: () => display.close(),
      },
    )
  } finally {
    display.close()
  }
}

function summaryText(summary: TrainSummary, colors: Colors): string {
  const { evaluation, last } = summary
  const rows: [string, string][] = []
  if (evaluation)
    rows.push(
      ['held-out loss', `${colors.bold(fixed(evaluation.loss, 3))} nats a token${droplessBeside(evaluation)}`],
      ['bits per byte', colors.bold(fixed(evaluation.bits_per_byte, 3))],
    )
  else if (last) rows.push(['training loss', `${fixed(last.loss, 3)} nats a token`])
  const note = summary.ceiling && lowerBoundNote(summary.ceiling)
  rows.push([
    'speed',
    `${count(summary.tokensPerSecond)} tokens/s, MFU ${note ? 'at most ' : ''}${percent(summary.mfu, 0)}`,
  ])
  if (note) rows.push(['matmul ceiling', note])
  if (last) rows.push(['drop rate', percent(last.drop_rate)], ['c_v', fixed(last.load_cv, 2)])
  rows.push(
    ['time', `${duration(summary.seconds)}, to step ${grouped(summary.step)}, ${count(summary.tokens)} tokens in all`],
    ['run', summary.directory],
  )
  return `\n${labelled(rows, colors)}`
}

/** Openings that suit the corpora that come with the program. */
const prompts: Readonly<Record<string, string>> = { sotu: 'The people of the United States', 'moby-dick': 'The whale' }

async function sample(io: Io, job: Job, directory: string, flags: TrainFlags, colors: Colors) {
  const prompt = prompts[sourceName(job.config)] ?? 'The'
  let text = ''
  const interrupted = await interruptible(io, async (signal) => {
    const pieces = io.operations.generate(directory, {
      prompt,
      tokens: 120,
      temperature: 0.8,
      topK: 40,
      topP: 0.95,
      seed: 0,
      signal,
      ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    })
    for await (const piece of pieces) text += piece
    return signal.aborted
  })
  if (interrupted) throw new Interrupted()
  if (flags.json) return writeJson(io, { kind: 'sample', prompt, text })
  const width = Math.min(io.stdout.columns ?? 80, 84) - 6
  const [first = '', ...more] = wrap(`${prompt}${text}`.trimEnd(), width)
  // The prompt may wrap on a narrow terminal; then it is not set apart.
  const head = first.startsWith(prompt) ? colors.cyan(prompt) + first.slice(prompt.length) : first
  const lines = [head, ...more].map((line) => `  ${colors.dim('│')} ${line}\n`)
  io.stdout.write(`\n  ${colors.dim('the model continues a prompt')}\n${lines.join('')}\n`)
  io.stdout.write(`  ${colors.dim(`more: ${io.self} generate ${quoted(directory)} --prompt "${prompt}"`)}\n`)
}

function quoted(path: string): string {
  return /^[\w./\\:-]+$/.test(path) ? path : `"${path}"`
}
