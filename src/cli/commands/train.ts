/** `choir train`: trains a configuration, shows its progress and writes a run directory. */
import type { Command } from 'commander'
import { presets } from '../../config/presets.ts'
import type { Ranks } from '../../runtime/ranks.ts'
import { count, duration, fixed, grouped, percent } from '../../text/numbers.ts'
import { quoted } from '../../text/shell.ts'
import type { TrainSummary } from '../../train/events.ts'
import { type Dashboard, startDashboard } from '../dashboard.ts'
import { droplessNote } from '../display/capacities.ts'
import { type Display, labelled } from '../display/display.ts'
import { jsonDisplay } from '../display/json.ts'
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
import {
  checkpointOption,
  dataOption,
  deviceOption,
  engineSets,
  freezeOption,
  freezeSets,
  fromOption,
  jsonOption,
  mathOption,
  numberOption,
  ranges,
  resumeOption,
  setOption,
  threadsOption,
  traceOption,
} from '../options.ts'
import { deadlineOption, mpiOption, type RankFlags, withRanks } from '../ranks.ts'
import { lowerBoundNote, ranksRows, sourceName } from '../summary.ts'
import { wrap } from '../text-layout.ts'
import { type Job, type JobFlags, prepareJob } from '../train-job.ts'

interface TrainFlags extends JobFlags, RankFlags {
  readonly json?: true
  readonly profile?: true
  readonly trace?: string
  /** Undefined if neither --sample nor --no-sample is given. */
  readonly sample?: boolean
  readonly watch?: true
  readonly simulateRanks?: number
}

export function addTrain(program: Command, io: Io): void {
  const names = Object.entries(presets).map(([name, { description }]) => `  ${name.padEnd(6)} ${description}`)
  program
    .command('train')
    .summary('train a model')
    .description(
      'Trains a Mixture-of-Experts language model, from the beginning, from a checkpoint (--resume), or from the weights ' +
        'of another run (--from). Writes configuration, metrics and checkpoints to a run directory.',
    )
    .argument('[config]', 'a preset, or a YAML or JSON file (default: demo, or the settings of --from)')
    .addOption(dataOption('that of the configuration'))
    .addOption(setOption())
    .option('--out <dir>', 'run directory to create (default: runs/NAME, or runs/NAME-2, ... if it exists)')
    .addOption(resumeOption())
    .addOption(fromOption())
    .addOption(checkpointOption('with --from, the weights of this step'))
    .addOption(freezeOption())
    .addOption(numberOption('--steps <n>', 'steps to train (train.steps)', ranges.positiveInteger))
    .addOption(deviceOption())
    .addOption(threadsOption())
    .addOption(mathOption())
    .addOption(jsonOption())
    .option('--profile', 'at the end, show the time of a step by op, layer and provider (the library that ran it)')
    .addOption(traceOption())
    .addOption(mpiOption())
    .addOption(deadlineOption())
    .addOption(
      numberOption(
        '--simulate-ranks <n>',
        'measure one of n ranks without the others, and compare it with its plan (default: 3 steps); writes no run',
        ranges.processes,
      ),
    )
    .option('--sample', 'at the end, generate some text (default: on a terminal, and for the demo)')
    .option('--no-sample', 'generate no text at the end')
    .option('--watch', 'serve the dashboard of the run in a browser; on a terminal until Ctrl-C (see: choir watch)')
    .addHelpText(
      'after',
      `
Presets:
${names.join('\n')}

Examples:
  choir train demo --watch
  choir train demo --data notes/ --data 'mail/*.txt.gz'
  choir train S --set train.steps=500 --set model.moe.k=2 --out runs/top-2
  choir train my-run.yaml --set model.moe=null --math bf16
  choir train --resume runs/demo
  choir train --from runs/demo --data notes/ --set train.steps=200 --out runs/notes
  choir train --from runs/demo --freeze embedding --freeze '*.router'
  choir train tiny --json | tail -1
  mpirun -n 4 choir train S --set parallel.expert=2
  choir train m6t-1t --simulate-ranks 480 --steps 3

Values shown:
  loss           cross-entropy in nats per token; lower is better
  held-out loss  loss on text that is not trained on
  bits per byte  held-out loss per byte of text, comparable between tokenizers; lower is better
  MFU            rate of the model's operations over the matmul rate of this machine; higher is better
  drop           share of assignments of tokens to experts that full experts refused; lower is better
  c_v            imbalance of expert loads, standard deviation over mean; 0 is even`,
    )
    .action((config: string | undefined, flags: TrainFlags, command: Command) =>
      run(io, config, flags, command.optsWithGlobals().verbose === true),
    )
}

async function run(outer: Io, source: string | undefined, flags: TrainFlags, verbose: boolean): Promise<void> {
  if (flags.simulateRanks !== undefined) return simulate(outer, source, flags, flags.simulateRanks)
  await withRanks(outer, flags, verbose, async (context) => {
    const { ranks = null, io = outer } = context ?? {}
    const job = await prepareOnRanks(io, ranks, source, flags)
    context?.watch(job.directory)
    if (ranks && ranks.rank > 0) {
      const { interrupted } = await train(io, job, flags, silent, ranks)
      if (interrupted) throw new Interrupted()
      return
    }
    const dashboard = flags.watch && (await startDashboard(io, job.directory, job.config.data.source))
    try {
      if (dashboard) printAddress(io, dashboard, flags)
      await trainAndReport(io, job, flags, ranks)
      if (dashboard && !flags.json && isTerminal(io.stdout, io.env)) await keepServing(io, dashboard)
    } finally {
      if (dashboard) await dashboard.stop()
    }
  })
}

/** Options that concern a run, which a simulation has none of. */
const ofRuns = [
  'data',
  'out',
  'resume',
  'from',
  'checkpoint',
  'profile',
  'trace',
  'mpi',
  'deadline',
  'sample',
  'watch',
] as const

async function simulate(io: Io, source = 'demo', flags: TrainFlags, ranks: number): Promise<void> {
  const { simulateRank } = await import('../simulate.ts')
  const { set = [], steps, json = false } = flags
  const others = ofRuns.filter((name) => flags[name] !== undefined).map((name) => `--${name}`)
  return simulateRank(io, source, [...set, ...freezeSets(flags.freeze), ...engineSets(flags)], {
    ranks,
    steps,
    json,
    others,
  })
}

/** Ranks but the first display nothing. */
const silent: Display = { event() {}, note() {}, close() {} }

/** The first rank decides on the configuration and the directory. */
async function prepareOnRanks(
  io: Io,
  ranks: Ranks | null,
  source: string | undefined,
  flags: TrainFlags,
): Promise<Job> {
  const job = await io.operations.fromFirst(ranks, () => prepareJob(source, flags))
  if (!ranks || job.config.runtime.threads !== undefined) return job
  const threads = await io.operations.threadsPerRank(ranks)
  return { ...job, config: { ...job.config, runtime: { ...job.config.runtime, threads } } }
}

function printAddress(io: Io, { address }: Dashboard, flags: TrainFlags): void {
  if (flags.json) writeJson(io, { kind: 'watch', address })
  else io.stdout.write(`  ${colorsFor(io.stdout, io.env).dim('dashboard')}  ${address}\n`)
}

/** Keeps the dashboard of the finished run open until Ctrl-C. */
async function keepServing(io: Io, { address }: Dashboard): Promise<void> {
  io.stdout.write(`\n  the dashboard is still open: ${address}\n  press Ctrl-C to close it\n`)
  await interruptible(io, untilAborted)
}

async function trainAndReport(io: Io, job: Job, flags: TrainFlags, ranks: Ranks | null): Promise<void> {
  const colors = colorsFor(io.stdout, io.env)
  const display = await displayFor(io, job, flags, colors)
  const summary = await train(io, job, flags, display, ranks)
  if (flags.json) {
    const { profile, trace, ...rest } = summary
    writeJson(io, { kind: 'summary', ...rest })
    if (profile && flags.profile) writeJson(io, { kind: 'profile', ...profile })
  } else {
    io.stdout.write(summaryText(summary, colors))
    if (summary.profile && flags.profile) {
      const { profileText } = await import('../profile.ts')
      io.stdout.write(profileText(summary.profile, colors, io.stdout.columns))
    }
  }
  if (summary.trace && flags.trace !== undefined) {
    const { writeTrace } = await import('../trace.ts')
    await writeTrace(flags.trace, `choir train ${job.name}`, summary.trace)
    if (flags.json) writeJson(io, { kind: 'trace', path: flags.trace })
    else io.stdout.write(`\n  ${colors.dim('trace')}  ${flags.trace} (open it at ui.perfetto.dev)\n`)
  }
  if (summary.interrupted) {
    const resumeCommand = `${io.self} train --resume ${quoted(summary.directory)}`
    io.stderr.write(`choir: stopped after step ${summary.step}; continue with: ${resumeCommand}\n`)
    throw new Interrupted()
  }
  const showSample = flags.sample ?? (!flags.json && (job.preset === 'demo' || isTerminal(io.stdout, io.env)))
  if (showSample) await sample(io, job, summary.directory, flags, colors)
}

async function displayFor(io: Io, job: Job, flags: TrainFlags, colors: Colors): Promise<Display> {
  if (flags.json) return jsonDisplay(io)
  if (!isTerminal(io.stdout, io.env)) return new LinesDisplay(io, job.config, job.name, colors)
  const { BarDisplay } = await import('../display/bar.ts')
  return new BarDisplay(io, job.config, job.name, colors)
}

async function train(io: Io, job: Job, flags: TrainFlags, display: Display, ranks: Ranks | null) {
  try {
    return await interruptible(
      io,
      (signal) =>
        io.operations.train(job.config, {
          directory: job.directory,
          resume: job.resume,
          from: job.from,
          profile: flags.profile ?? flags.trace !== undefined,
          signal,
          ranks,
          onEvent: (event) => display.event(event),
        }),
      {
        onInterrupt: () => display.note('finishing the step and saving ... press Ctrl-C again to stop immediately'),
        beforeExit: () => display.close(),
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
      ['held-out loss', `${colors.bold(fixed(evaluation.loss, 3))} nats a token${droplessNote(evaluation)}`],
      ['bits per byte', colors.bold(fixed(evaluation.bits_per_byte, 3))],
    )
  else if (last) rows.push(['training loss', `${fixed(last.loss, 3)} nats a token`])
  const note = summary.ceiling && lowerBoundNote(summary.ceiling)
  rows.push([
    'speed',
    `${count(summary.tokensPerSecond)} tokens/s, MFU ${note ? 'at most ' : ''}${percent(summary.mfu, 0)}`,
  ])
  if (note) rows.push(['matmul ceiling', note])
  if (summary.ranks) rows.push(...ranksRows(summary.ranks))
  if (last) rows.push(['drop rate', percent(last.drop_rate)], ['c_v', fixed(last.load_cv, 2)])
  rows.push(
    ['time', `${duration(summary.seconds)}, to step ${grouped(summary.step)}, ${count(summary.tokens)} tokens in all`],
    ['run', summary.directory],
  )
  return `\n${labelled(rows, colors)}`
}

/** Prompts for the built-in corpora. */
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
  const width = Math.min(io.stdout.columns || 80, 84) - 6
  const [first = '', ...more] = wrap(`${prompt}${text}`.trimEnd(), width)
  // On a narrow terminal the prompt may wrap; then it is not coloured.
  const head = first.startsWith(prompt) ? colors.cyan(prompt) + first.slice(prompt.length) : first
  const lines = [head, ...more].map((line) => `  ${colors.dim('│')} ${line}\n`)
  io.stdout.write(`\n  ${colors.dim('the model continues a prompt')}\n${lines.join('')}\n`)
  io.stdout.write(`  ${colors.dim(`more: ${io.self} generate ${quoted(directory)} --prompt "${prompt}"`)}\n`)
}
