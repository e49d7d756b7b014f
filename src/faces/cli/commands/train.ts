/** `choir train`: trains a configuration, shows its progress and writes a run directory. */
import type { Command } from 'commander'
import { presets } from '../../../core/config/presets.ts'
import { quoted } from '../../../core/text/shell.ts'
import type { Ranks } from '../../../engine/contract/ranks.ts'
import { OccupiedDirectory } from '../../../node/run/occupied-directory.ts'
import { LockedRun } from '../../../node/system/lock.ts'
import type { TrainSummary } from '../../../train/loop/events.ts'
import { type Dashboard, startDashboard } from '../dashboard.ts'
import type { Display, StartEvent } from '../display/display.ts'
import { jsonDisplay } from '../display/json.ts'
import { LinesDisplay } from '../display/lines.ts'
import { print } from '../display/print.ts'
import { summaryText } from '../display/train-summary.ts'
import { type Colors, colorsFor, Interrupted, type Io, interruptible, isTerminal, untilAborted } from '../io.ts'
import { writeJson } from '../json.ts'
import { logToOption } from '../log-to/sinks.ts'
import {
  checkpointOption,
  dataOption,
  deviceOption,
  engineSets,
  forkOption,
  freezeOption,
  freezeSets,
  fromOption,
  gpuOption,
  jsonOption,
  mathOption,
  numberOption,
  ranges,
  resumeOption,
  setOption,
  threadsOption,
  traceOption,
} from '../options.ts'
import { expectOutputs } from '../output-files.ts'
import { deadlineOption, mpiOption, type RankFlags, withRanks } from '../ranks.ts'
import { freeDirectory, isFirstRun, type Job, type JobFlags, prepareJob } from '../train-job.ts'
import { writeSample } from './sample.ts'

interface TrainFlags extends JobFlags, RankFlags {
  readonly json?: true
  readonly profile?: true
  readonly trace?: string
  /** Undefined if neither --sample nor --no-sample is given. */
  readonly sample?: boolean
  readonly watch?: true
  readonly simulateRanks?: number
  readonly logTo?: string
}

export function addTrain(program: Command, io: Io): void {
  const names = Object.entries(presets).map(([name, { description }]) => `  ${name.padEnd(6)} ${description}`)
  program
    .command('train')
    .summary('train a model')
    .description(
      'Trains a Mixture-of-Experts language model, from the beginning, from a checkpoint (--resume), from the weights of ' +
        'another run (--from), or from any checkpoint of another run with all its state (--fork). Writes configuration, metrics and checkpoints to a run directory.',
    )
    .argument('[config]', 'a preset, or a YAML or JSON file (default: demo, or the settings of --from or --fork)')
    .addOption(dataOption('that of the configuration'))
    .addOption(setOption())
    .option('--out <dir>', 'run directory to create (default: runs/NAME, or runs/NAME-2, ... if it exists)')
    .addOption(resumeOption())
    .addOption(fromOption())
    .addOption(forkOption())
    .addOption(checkpointOption('with --resume, --from or --fork, the checkpoint of this step'))
    .addOption(freezeOption())
    .addOption(numberOption('--steps <n>', 'steps to train (train.steps)', ranges.positiveInteger))
    .addOption(deviceOption())
    .addOption(gpuOption())
    .addOption(threadsOption())
    .addOption(mathOption())
    .addOption(jsonOption())
    .option('--profile', 'at the end, show the time of a step by op, layer and provider (the library that ran it)')
    .addOption(traceOption())
    .addOption(logToOption())
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
  choir train --resume runs/demo --checkpoint 1600 --set train.schedule.learningRate=1e-3
  choir train --from runs/demo --data notes/ --set train.steps=200 --out runs/notes
  choir train --fork runs/demo --checkpoint 400 --set train.schedule.learningRate=3e-4 --out runs/slower
  choir train --from runs/demo --freeze embedding --freeze '*.router'
  choir train tiny --json | tail -1
  choir train demo --log-to 'python3 examples/log-to/wandb_offline.py'
  mpirun -n 4 choir train S --set parallel.expert=2
  mpirun -n 2 choir train S --device webgpu
  choir train m6t-1t --simulate-ranks 480 --steps 3

Values shown:
  loss           cross-entropy in nats per token; lower is better
  held-out loss  loss on text that is not trained on
  bits per byte  held-out loss per byte of text, comparable between tokenizers; lower is better
  MFU            rate of the model's operations over the matmul rate of this machine; higher is better
  drop           share of assignments of tokens to experts that full experts refused; lower is better
  c_v            imbalance of expert loads, standard deviation over mean; 0 is even
  gate           factor by which the output of a token's experts is scaled: the sum of the gates
                 of its kept choices
  entropy        of the router's distribution, over the largest; near 1 it prefers no expert`,
    )
    .action((config: string | undefined, flags: TrainFlags, command: Command) =>
      run(io, config, flags, command.optsWithGlobals().verbose === true),
    )
}

async function run(outer: Io, source: string | undefined, flags: TrainFlags, verbose: boolean): Promise<void> {
  if (flags.simulateRanks !== undefined) return simulate(outer, source, flags, flags.simulateRanks)
  await withRanks(outer, { words: [source], flags }, verbose, async (context) => {
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

/** Options that concern a run, which a simulation refuses since it has no run. */
const ofRuns = [
  'data',
  'out',
  'resume',
  'from',
  'fork',
  'checkpoint',
  'profile',
  'trace',
  'logTo',
  'mpi',
  'deadline',
  'sample',
  'watch',
] as const

async function simulate(io: Io, source = 'demo', flags: TrainFlags, ranks: number): Promise<void> {
  const { simulateRank } = await import('./simulate.ts')
  const { set = [], steps, gpu, json = false } = flags
  const others = ofRuns
    .filter((name) => flags[name] !== undefined)
    .map((name) => `--${name === 'logTo' ? 'log-to' : name}`)
  return simulateRank(io, source, [...set, ...freezeSets(flags.freeze), ...engineSets(flags)], {
    ranks,
    steps,
    gpu,
    json,
    others,
  })
}

/** The display of all ranks except the first shows nothing. */
const silent: Display = { event() {}, note() {}, close() {} }

/** The first rank decides on the configuration and the directory. */
async function prepareOnRanks(
  io: Io,
  ranks: Ranks | null,
  source: string | undefined,
  flags: TrainFlags,
): Promise<Job> {
  const job = await io.operations.fromFirst(ranks, async () => {
    await expectOutputs(['trace', flags.trace, 'trace'])
    return prepareJob(source, flags)
  })
  if (!ranks || job.config.runtime.threads !== undefined) return job
  const threads = await io.operations.threadsPerRank(ranks)
  return { ...job, config: { ...job.config, runtime: { ...job.config.runtime, threads } } }
}

function printAddress(io: Io, { address }: Dashboard, flags: TrainFlags): void {
  if (flags.json) writeJson(io, { kind: 'watch', address })
  else print(io, `  ${colorsFor(io.stdout, io.env).dim('dashboard')}  ${address}\n`)
}

/** Keeps the dashboard of the finished run open until Ctrl-C. */
async function keepServing(io: Io, { address }: Dashboard): Promise<void> {
  print(io, `\n  the dashboard is still open: ${address}\n  press Ctrl-C to close it\n`)
  await interruptible(io, untilAborted)
}

async function trainAndReport(io: Io, job: Job, flags: TrainFlags, ranks: Ranks | null): Promise<void> {
  const colors = colorsFor(io.stdout, io.env)
  const explain = await needsLegend(io, job, flags)
  const display = await displayFor(io, job, flags, colors, explain)
  // The explanation of the values has the number; a log, which is read alone, has it for every new run.
  const compareWithGzip = explain || !(flags.json || job.resume || isTerminal(io.stdout, io.env))
  if (flags.logTo === undefined) {
    const summary = await train(io, job, flags, display, ranks, compareWithGzip)
    return reportSummary(io, job, flags, summary, colors)
  }
  const { openStepLog, withLog } = await import('../log-to/step-log.ts')
  const log = openStepLog(flags.logTo, job.config, display)
  try {
    const summary = await train(io, job, flags, withLog(display, log), ranks, compareWithGzip)
    log.summary(summary)
    await reportSummary(io, job, flags, summary, colors)
  } finally {
    await log.close()
  }
}

async function reportSummary(io: Io, job: Job, flags: TrainFlags, summary: TrainSummary, colors: Colors) {
  if (flags.json) {
    const { profile, trace, ...rest } = summary
    writeJson(io, { kind: 'summary', ...rest })
    if (profile && flags.profile) writeJson(io, { kind: 'profile', ...profile })
  } else {
    print(io, summaryText(summary, colors))
    if (summary.profile && flags.profile) {
      const { profileText } = await import('../display/profile.ts')
      io.stdout.write(profileText(summary.profile, colors, io.stdout.columns))
    }
  }
  if (summary.trace && flags.trace !== undefined) {
    const { writeTrace } = await import('../trace.ts')
    await writeTrace(flags.trace, `choir train ${job.name}`, summary.trace)
    if (flags.json) writeJson(io, { kind: 'trace', path: flags.trace })
    else print(io, `\n  ${colors.dim('trace')}  ${flags.trace} (open it at ui.perfetto.dev)\n`)
  }
  if (summary.interrupted) {
    const resumeCommand = `${io.self} train --resume ${quoted(summary.directory)}`
    io.stderr.write(`choir: stopped after step ${summary.step}; continue with: ${resumeCommand}\n`)
    throw new Interrupted()
  }
  const showSample = flags.sample ?? (!flags.json && (job.preset === 'demo' || isTerminal(io.stdout, io.env)))
  if (showSample) await writeSample(io, job, summary.directory, flags, colors)
}

/** Whether the values are explained: on a terminal, for a new run that is the first in its folder. */
const needsLegend = async (io: Io, job: Job, flags: TrainFlags): Promise<boolean> =>
  !flags.json && isTerminal(io.stdout, io.env) && !job.resume && (await isFirstRun(job.directory))

async function displayFor(io: Io, job: Job, flags: TrainFlags, colors: Colors, explain: boolean): Promise<Display> {
  if (flags.json) return jsonDisplay(io)
  if (!isTerminal(io.stdout, io.env)) return new LinesDisplay(io, job.config, job.name, colors)
  const { BarDisplay } = await import('../display/bar.ts')
  const { isDemo, legendText } = await import('../display/legend.ts')
  const { config } = job
  const dense = explain && (await isDemo(config))
  const legend = explain ? (start: StartEvent) => legendText(config, start, dense, colors) : null
  return new BarDisplay(io, config, job.name, colors, legend)
}

async function train(
  io: Io,
  job: Job,
  flags: TrainFlags,
  display: Display,
  ranks: Ranks | null,
  compareWithGzip = false,
) {
  try {
    return await interruptible(
      io,
      (signal) =>
        inFreeDirectory(job, (directory) =>
          io.operations.train(job.config, {
            directory,
            resume: job.resume,
            checkpoint: job.checkpoint,
            from: job.from,
            profile: flags.profile ?? flags.trace !== undefined,
            compareWithGzip,
            signal,
            ranks,
            gpu: flags.gpu,
            onEvent: (event) => display.event(event),
          }),
        ),
      {
        onInterrupt: () => display.note('finishing the step and saving ... press Ctrl-C again to stop immediately'),
        beforeExit: () => display.close(),
      },
    )
  } finally {
    display.close()
  }
}

/** Starts again in the next free directory if another process just took the chosen one. */
async function inFreeDirectory<T>(job: Job, start: (directory: string) => Promise<T>): Promise<T> {
  for (let directory = job.directory; ; directory = freeDirectory(job.name))
    try {
      return await start(directory)
    } catch (error) {
      if (!job.isUnnamed || !(error instanceof OccupiedDirectory || error instanceof LockedRun)) throw error
    }
}
