/** `choir study`: runs a grid of trainings and writes its report. */
import { availableParallelism } from 'node:os'
import { type Command, Option } from 'commander'
import { RunError, UsageError } from '../../../core/errors.ts'
import { duration, joinWords } from '../../../core/text/numbers.ts'
import { commandLine } from '../../../core/text/shell.ts'
import { physicalCores } from '../../../engine/native/cores.ts'
import type { StudyEvent } from '../../../tools/study/events.ts'
import { builtinStudies, studySizes } from '../../../tools/study/grid/read-specification.ts'
import type { StudyOptions } from '../../../tools/study/runs/run-study.ts'
import { labelled } from '../display/display.ts'
import { columnsOf, print } from '../display/print.ts'
import { answersText } from '../display/study/answers.ts'
import { resultsText } from '../display/study/predictions.ts'
import { StudyDisplay } from '../display/study/study.ts'
import { colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { writeJson } from '../json.ts'
import {
  dataOption,
  deviceOption,
  durationOption,
  jsonOption,
  mathOption,
  numberOption,
  ranges,
  setOption,
} from '../options.ts'
import { estimated } from '../study/estimate.ts'
import { isBuiltin, loadSpecification, type SpecificationFlags, studyName, studyWords } from '../study/specification.ts'

interface StudyFlags extends SpecificationFlags {
  readonly out?: string
  readonly jobs?: number
  readonly threads?: number
  readonly keepCheckpoints?: true
  readonly join?: true
  readonly report?: true
  readonly paper?: true
  readonly dryRun?: true
  /** Seconds. */
  readonly budget?: number
  readonly json?: true
}

export function addStudy(program: Command, io: Io): void {
  const listed = (described: Readonly<Record<string, string>>) =>
    Object.entries(described)
      .map(([name, description]) => `  ${name.padEnd(9)}  ${description}`)
      .join('\n')
  program
    .command('study')
    .summary('compare settings with a grid of trainings')
    .description(
      'Trains every arm (a configuration to compare) of a study with every seed, and reports differences in loss with ' +
        'confidence intervals. To continue a study that was stopped, run the same command again. To share it among ' +
        'machines, run it with --join on each, with the same folder.',
    )
    .argument('<study>', 'a built-in study (below), or a YAML file with your own')
    .option('--out <dir>', 'folder for results, runs and report; results in it are continued (required)')
    .option('--preset <name>', 'size of a built-in study (default: quick)')
    .addOption(dataOption('sotu'))
    .addOption(setOption())
    .addOption(numberOption('--seeds <n>', 'use only the first n seeds of the study', ranges.positiveInteger))
    .addOption(
      numberOption('--jobs <n>', 'trainings at a time (default: cores / threads)', ranges.processes).conflicts(
        'report',
      ),
    )
    .addOption(
      numberOption('--threads <n>', 'threads per training (default: 1, or cores / jobs)', ranges.threads).conflicts(
        'report',
      ),
    )
    .addOption(deviceOption())
    .addOption(mathOption())
    .option('--search', 'look for the best settings with the search of the file (below), instead of comparing its arms')
    .addOption(new Option('--keep-checkpoints', 'keep the checkpoints of finished runs').conflicts('report'))
    .addOption(
      new Option(
        '--join',
        'share the runs with processes that work on this study, here or on other machines',
      ).conflicts('report'),
    )
    .option('--report', 'train nothing, and write the report of the results so far')
    .option('--paper', 'also write tables as LaTeX and CSV, figures as SVG, and report.bib, in the folder "paper"')
    .addOption(
      new Option(
        '--dry-run',
        'measure only the first steps of every arm, for some seconds each, and print the arms, the time and the disk ' +
          'space that are left; writes nothing into --out, which may be left out',
      ).conflicts(['report', 'join', 'paper']),
    )
    .addOption(
      durationOption(
        '--budget <time>',
        'time for what is left, such as 90m, 2h or 1h30m: measures as --dry-run does, and uses as many of the first ' +
          'seeds as fit, at least 2; steps stay as they are, because with fewer the study asks another question',
      ).conflicts(['report', 'join']),
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Built-in studies:
${listed(builtinStudies)}

Presets (sizes) of built-in studies:
${listed(studySizes)}

Examples:
  choir study m6t --out studies/quick
  choir study m6t --preset standard --out studies/standard
  choir study m6t --data 'books/*.txt' --out studies/books
  choir study witnesses --out studies/witnesses
  choir study my-study.yaml --out studies/mine --jobs 4
  choir study my-study.yaml --dry-run                  # how long, how much disk?
  choir study my-study.yaml --out studies/mine --budget 2h
  choir study my-search.yaml --search --out studies/search
  choir study m6t --out studies/quick --report --paper         # files for a paper
  choir study m6t --preset standard --out /shared/m6t --join   # on each machine

Your own study, my-study.yaml, compares two arms in one question:
  base: demo
  set: { train.steps: 600 }
  seeds: [1, 2, 3]
  arms:
    top-1: { model.moe.router: top-k, model.moe.prototypes: 1 }
    2 top-1: { model.moe.router: prototype, model.moe.prototypes: 2 }
  questions:
    - { title: Prototypes, baseline: top-1, arms: [2 top-1] }

Instead of named arms, or in addition, "grid" makes an arm of every combination:
  grid: { model.moe.k: [1, 2], model.moe.factor: [1.0, 1.25] }

A search draws configurations from ranges, trains all for a few steps and the best third of
them for three times as many, again and again (successive halving), my-search.yaml:
  base: demo
  search:
    settings:
      train.schedule.learningRate: { min: 0.0003, max: 0.03, scale: log }
      train.schedule.warmup: { min: 0, max: 60, integer: true }
      model.moe.k: { choices: [1, 2] }
    configurations: 27
    eta: 3           # of each rung the best third go on
    minSteps: 100    # of the first rung; the last one has train.steps, or maxSteps
    seed: 0          # of the draws

A dense baseline of as many active parameters, whose hidden width the study solves for, and
a short sweep for the best learning rate of each arm:
  arms: { top-1: {}, dense: { model.moe: null, match: { equal: activeParameters } } }
  tune: { rates: [0.5, 1, 2], steps: 0.5 }

What you expect of a question, which is registered before the first run:
  predictions: [{ question: Prototypes, expect: better }]

Every arm at several lengths of training, for 1.175 times the price of the longest:
  set: { train.steps: 8000, train.schedule: { kind: wsd } }
  branches: [0.125, 0.25, 0.5, 1]`,
    )
    .action((study: string, flags: StudyFlags) => run(io, study, flags))
}

async function run(io: Io, study: string, given: StudyFlags): Promise<void> {
  const whole = await loadSpecification(study, given)
  const colors = colorsFor(io.stdout, io.env)
  const display = given.json ? null : new StudyDisplay(io, colors)
  const shared = {
    name: studyName(study, given),
    ...coreShares(given),
    timingThreads: physicalCores(),
    keepCheckpoints: given.keepCheckpoints ?? false,
    onEvent: (event: StudyEvent) => (display ? display.event(event) : writeJson(io, event)),
  }
  const { out, dryRun, budget } = given
  if (out === undefined && !dryRun) throw new UsageError("required option '--out <dir>' not specified")
  let specification = whole
  let flags = given
  if (dryRun || budget !== undefined) {
    const estimate = await estimated(io, whole, { ...shared, directory: out, budget }, given)
    if (dryRun) return
    const { seeds } = estimate
    specification = { ...whole, seeds: whole.seeds.slice(0, seeds) }
    // The command in the report repeats the study with these seeds, however long it then takes.
    if (seeds < whole.seeds.length) flags = { ...given, seeds }
  }
  const options: StudyOptions = {
    command: studyCommand(io, study, flags),
    directory: out ?? '',
    ...(!isBuiltin(study) && { file: study }),
    ...shared,
    join: flags.join ?? false,
    paper: flags.paper ?? false,
  }
  const startedAt = io.now()
  const { interrupted, finished, runs, failed, files, answers, predictions, others } = await interruptible(
    io,
    (signal) =>
      flags.report
        ? io.operations.writeStudyReport(specification, options)
        : io.operations.study(specification, { ...options, signal }),
    {
      onInterrupt: () => display?.note('saving the running trainings ... press Ctrl-C again to stop immediately'),
      beforeExit: () => display?.close(),
    },
  ).finally(() => display?.close())
  const seconds = (io.now() - startedAt) / 1000
  if (flags.json)
    writeJson(io, {
      kind: 'summary',
      interrupted,
      finished,
      runs,
      failed,
      seconds,
      others,
      ...(predictions.length > 0 && { predictions }),
      ...files,
    })
  else {
    if (answers) print(io, answersText(answers, colors, columnsOf(io.stdout)))
    print(
      io,
      `\n${labelled(
        [
          ['runs', `${finished} of ${runs}${failed > 0 ? `, ${failed} failed (see the report)` : ''}`],
          ['time', duration(seconds)],
          ...(predictions.length > 0 ? [['predictions', resultsText(predictions)] as const] : []),
          ['report', files ? colors.bold(files.html) : `is written by ${joinWords(others, 'or')}`],
          ...(files ? [['', `${files.markdown}, ${files.results}, ${files.parquet}, ${files.curves}`] as const] : []),
          ...(flags.paper
            ? [['paper', files?.paper ?? `${options.command} --report --paper (when the study has ended)`] as const]
            : []),
        ],
        colors,
      )}`,
    )
  }
  if (interrupted) {
    const goOn = others.length > 0 ? `${joinWords(others)} ${others.length === 1 ? 'goes' : 'go'} on; ` : ''
    const command = `${options.command}${flags.paper ? ' --paper' : ''}${others.length > 0 ? ' --join' : ''}`
    io.stderr.write(`choir: stopped with ${finished} of ${runs} runs; ${goOn}continue with: ${command}\n`)
    throw new Interrupted()
  }
  if (finished === 0 && files && !flags.report) throw new RunError('no run of the study finished (see the report)')
}

/** Divides the cores among runs: several small runs use them better than one run with many threads. */
function coreShares({ jobs, threads }: StudyFlags): { jobs: number; threads: number } {
  const cores = physicalCores()
  const threadsEach = threads ?? Math.max(1, Math.floor(cores / (jobs ?? cores)))
  const jobCount = jobs ?? Math.max(1, Math.floor(cores / threadsEach))
  if (jobCount * threadsEach > availableParallelism() * 4) {
    const option = jobs === undefined ? '--threads' : '--jobs'
    throw new UsageError(
      `invalid ${option}: ${jobCount} runs of ${threadsEach} threads are too many for ${cores} cores`,
    )
  }
  return { jobs: jobCount, threads: threadsEach }
}

/** The command that repeats the study, without flags that only concern this machine or this invocation. */
function studyCommand(io: Io, study: string, flags: StudyFlags): string {
  const { out } = flags
  const words = ['study', ...studyWords(study, flags), ...(out === undefined ? [] : ['--out', out])]
  return `${io.self} ${commandLine(words)}`
}
