/** `choir study`: a grid of trainings and its report, followed live. */
import { availableParallelism } from 'node:os'
import type { Command } from 'commander'
import { RunError, UsageError } from '../../errors.ts'
import { physicalCores } from '../../runtime/cores.ts'
import {
  type BuiltinStudy,
  builtinNames,
  builtinStudies,
  sizeDescriptions,
  studySizes,
} from '../../study/builtin/studies.ts'
import { readSpecification, type Specification, withSets } from '../../study/grid/specification.ts'
import type { StudyOptions } from '../../study/runs/run-study.ts'
import { nearest } from '../../text/nearest.ts'
import { duration } from '../../text/numbers.ts'
import { labelled } from '../display/display.ts'
import { StudyDisplay } from '../display/study.ts'
import { colorsFor, Interrupted, type Io, interruptible, writeJson } from '../io.ts'
import { jsonOption, listOption, mathOption, numberOption, quoted, ranges, setOption } from '../options.ts'

interface StudyFlags {
  readonly out: string
  readonly preset?: string
  readonly data?: readonly string[]
  readonly set?: readonly string[]
  readonly seeds?: number
  readonly jobs?: number
  readonly threads?: number
  readonly math?: 'float32' | 'bf16'
  readonly keepCheckpoints?: true
  readonly report?: true
  readonly json?: true
}

export function addStudy(program: Command, io: Io): void {
  const studies = builtinNames.map((name) => `  ${name.padEnd(9)}  ${builtinStudies[name].description}`)
  const presets = studySizes.map((name) => `  ${name.padEnd(9)}  ${sizeDescriptions[name]}`)
  program
    .command('study')
    .summary('compare settings by a grid of trainings')
    .description(
      'Trains every arm of a study with every seed and reports what differs, with intervals. ' +
        'A study that was stopped, in whatever way, goes on when it is started again.',
    )
    .argument('<study>', 'one that comes with the program (below), or a YAML file with a study of your own')
    .requiredOption('--out <dir>', 'folder of results, runs and the report; continued when it holds some')
    .option('--preset <name>', 'size of a study that comes with the program (default: quick)')
    .addOption(
      listOption('--data <source>', 'text: a corpus by name, or a file, folder or glob; repeatable (default: sotu)'),
    )
    .addOption(setOption())
    .addOption(numberOption('--seeds <n>', 'only the first so many seeds of the study', ranges.positiveInteger))
    .addOption(numberOption('--jobs <n>', 'runs at a time (default: as many as threads allow)', ranges.positiveInteger))
    .addOption(
      numberOption(
        '--threads <n>',
        'threads of each run (default: one, or what the cores allow with --jobs)',
        ranges.positiveInteger,
      ),
    )
    .addOption(mathOption())
    .option('--keep-checkpoints', 'keep the checkpoints of finished runs')
    .option('--report', 'train nothing: write the report of what is there')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Studies that come with the program:
${studies.join('\n')}

Presets, their sizes:
${presets.join('\n')}

Examples:
  choir study m6t --out studies/quick
  choir study m6t --preset standard --out studies/standard
  choir study m6t --data 'books/*.txt' --out studies/books
  choir study witnesses --out studies/witnesses
  choir study my-study.yaml --out studies/mine --jobs 4

A study of your own, my-study.yaml:
  base: demo
  set: { train.steps: 600 }
  seeds: [1, 2, 3]
  arms:
    top-1: { model.moe.router: top-k, model.moe.prototypes: 1 }
    2 top-1: { model.moe.router: prototype, model.moe.prototypes: 2 }
  questions:
    - { title: Prototypes, baseline: top-1, arms: [2 top-1] }

In place of arms by name, or besides them, "grid" makes one of every combination:
  grid: { model.moe.k: [1, 2], model.moe.factor: [1.0, 1.25] }

A dense baseline, and the best learning rate of each arm by a short sweep:
  arms: { dense: { model.moe: null, model.hidden: 1024 }, top-1: {} }
  tune: { rates: [0.5, 1, 2], steps: 0.5 }`,
    )
    .action((study: string, flags: StudyFlags) => run(io, study, flags))
}

async function run(io: Io, study: string, flags: StudyFlags): Promise<void> {
  const specification = await specificationOf(study, flags)
  const colors = colorsFor(io.stdout, io.env)
  const display = flags.json ? null : new StudyDisplay(io, colors)
  const tell = (event: object) => writeJson(io, event)
  const options: StudyOptions = {
    name: isBuiltin(study) ? `${study}, ${flags.preset ?? 'quick'}` : study,
    command: commandOf(io, study, flags),
    directory: flags.out,
    ...(!isBuiltin(study) && { file: study }),
    ...sharing(flags),
    timingThreads: physicalCores(),
    keepCheckpoints: flags.keepCheckpoints ?? false,
    onEvent: (event) => (display ? display.event(event) : tell(event)),
  }
  const began = io.now()
  const { interrupted, finished, runs, failed, files } = await interruptible(
    io,
    (signal) =>
      flags.report
        ? io.operations.report(specification, options)
        : io.operations.study(specification, { ...options, signal }),
    {
      tell: () => display?.note('saving the runs that are under way ... press Ctrl-C again to stop at once'),
      leave: () => display?.close(),
    },
  ).finally(() => display?.close())
  const seconds = (io.now() - began) / 1000
  if (flags.json) writeJson(io, { kind: 'summary', interrupted, finished, runs, failed, seconds, ...files })
  else
    io.stdout.write(
      `\n${labelled(
        [
          ['runs', `${finished} of ${runs}${failed > 0 ? `, ${failed} failed (the report says why)` : ''}`],
          ['time', duration(seconds)],
          ['report', colors.bold(files.html)],
          ['', `${files.markdown}, ${files.json}, ${files.parquet}`],
        ],
        colors,
      )}`,
    )
  if (interrupted) {
    io.stderr.write(`choir: stopped with ${finished} of ${runs} runs; start it again to go on: ${options.command}\n`)
    throw new Interrupted()
  }
  if (finished === 0 && !flags.report) throw new RunError('no run of the study finished (the report says why)')
}

async function specificationOf(study: string, flags: StudyFlags): Promise<Specification> {
  const { preset, seeds } = flags
  const specification = withSets(await chosen(study, preset), setsOf(flags))
  if (seeds === undefined) return specification
  if (seeds > specification.seeds.length)
    throw new UsageError(
      `invalid --seeds: ${seeds} (the study has ${specification.seeds.length}: ${specification.seeds.join(', ')})`,
    )
  return { ...specification, seeds: specification.seeds.slice(0, seeds) }
}

const isBuiltin = (study: string): study is BuiltinStudy => Object.hasOwn(builtinStudies, study)

async function chosen(study: string, preset: string | undefined): Promise<Specification> {
  if (isBuiltin(study)) {
    const known = studySizes.find((name) => name === (preset ?? 'quick'))
    if (!known) {
      const near = nearest(preset ?? '', studySizes)
      throw new UsageError(
        `invalid --preset: "${preset}" (expected ${studySizes.join(' or ')}${near ? `; did you mean "${near}"?` : ''})`,
      )
    }
    return builtinStudies[study].specification(known)
  }
  if (!/[\\/]|\.(ya?ml|json)$/i.test(study)) {
    const near = nearest(study, builtinNames)
    throw new UsageError(
      `unknown study "${study}" (expected ${builtinNames.join(', ')}, or a YAML file${near ? `; did you mean "${near}"?` : ''})`,
    )
  }
  if (preset !== undefined)
    throw new UsageError(`invalid --preset: only ${builtinNames.join(' and ')} have presets, not a file`)
  return readSpecification(study)
}

function setsOf({ set = [], data, math }: StudyFlags): string[] {
  const source = data?.length === 1 ? data[0] : data
  return [
    ...set,
    ...(source === undefined ? [] : [`data.source=${JSON.stringify(source)}`]),
    ...(math === undefined ? [] : [`runtime.math=${math}`]),
  ]
}

/** Runs side by side use the cores better than threads of one small run. */
function sharing({ jobs, threads }: StudyFlags): { jobs: number; threads: number } {
  const cores = physicalCores()
  const each = threads ?? Math.max(1, Math.floor(cores / (jobs ?? cores)))
  const many = jobs ?? Math.max(1, Math.floor(cores / each))
  if (many * each > availableParallelism() * 4) {
    const option = jobs === undefined ? '--threads' : '--jobs'
    throw new UsageError(`invalid ${option}: ${many} runs of ${each} threads are too many for ${cores} cores`)
  }
  return { jobs: many, threads: each }
}

/** What repeats the study, without what only concerns this machine or this sitting. */
function commandOf(io: Io, study: string, { out, preset, data = [], set = [], seeds, math }: StudyFlags): string {
  const words = [
    'study',
    study,
    ...(preset === undefined ? [] : ['--preset', preset]),
    ...data.flatMap((source) => ['--data', source]),
    ...set.flatMap((assignment) => ['--set', assignment]),
    ...(seeds === undefined ? [] : ['--seeds', String(seeds)]),
    ...(math === undefined ? [] : ['--math', math]),
    '--out',
    out,
  ]
  return `${io.self} ${words.map(quoted).join(' ')}`
}
