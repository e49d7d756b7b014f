/**
 * Compares the step time and peak memory that `choir plan --cluster local` predicts with measurements of trainings.
 * None of these configurations is used for calibration.
 *
 *   npm run build && npx tsx bench/planner/predict.ts                 configurations that are not measured yet
 *   npx tsx bench/planner/predict.ts --math bf16
 *   npx tsx bench/planner/predict.ts --engine onnxruntime             without oneDNN
 *   npx tsx bench/planner/predict.ts --again                          all again, with a new calibration
 */
import { cpus } from 'node:os'
import { Command, Option } from 'commander'
import { median } from '../../src/core/averages.ts'
import { RunError } from '../../src/core/errors.ts'
import { bytes, fixed, percent } from '../../src/core/text/numbers.ts'
import { mathOption, numberOption, ranges } from '../../src/faces/cli/options.ts'
import type { Plan } from '../../src/tools/plan/plan.ts'
import {
  checkChoice,
  choiceName,
  choirLines,
  type EngineChoice,
  type EngineName,
  engines,
  TrainingProcess,
  WARM_UP,
} from '../support/choir.ts'
import { runCommand, tableText } from '../support/command.ts'
import { Results, resultFile, shownPath } from '../support/results.ts'

interface Flags {
  readonly math: 'float32' | 'bf16'
  readonly engine: EngineName
  readonly steps: number
  readonly rounds: number
  readonly again?: true
}

export interface PredictRow {
  readonly name: string
  readonly predictedMs: number
  readonly predictedBytes: number
  /** One value per training. */
  readonly measuredMs: readonly number[]
  readonly measuredBytes: readonly number[]
}

/** Presets with assignments that vary size, router, capacity and optimizer. */
const configurations: readonly (readonly [preset: string, ...sets: string[]])[] = [
  ['demo'],
  ['demo', 'model.moe=null'],
  ['demo', 'train.batch=32', 'train.microBatches=2'],
  ['demo', 'model.sequence=512', 'train.batch=4'],
  ['S'],
  ['S', 'model.moe.k=2'],
  ['S', 'model.moe.router=prototype', 'model.moe.prototypes=4', 'model.moe.capacity=1x'],
  ['S', 'model.moe.capacity=none', 'model.moe.experts=32'],
  ['S', 'model.moe.router=expert-choice'],
  ['S', 'model.activation=swiglu', 'model.hidden=768', 'model.moe.hidden=768'],
  ['S', 'model.moe.every=2', 'train.batch=8'],
  ['S', 'model.layers=8', 'train.optimizer.kind=adafactor', 'train.batch=8'],
  ['S', 'model.width=384', 'model.heads=6', 'model.moe.hidden=1536', 'train.batch=8'],
  ['M', 'model.layers=2', 'train.batch=4'],
  ['M', 'model.moe=null', 'train.batch=8'],
]

await runCommand(
  new Command('npx tsx bench/planner/predict.ts')
    .description('Compares predictions of `choir plan --cluster local` with trainings.')
    .addOption(mathOption().choices(['float32', 'bf16']).default('float32'))
    .addOption(new Option('--engine <name>', 'library for matrix products').choices(engines).default('onednn'))
    .addOption(numberOption('--steps <n>', 'number of steps to time', ranges.positiveInteger).default(8))
    .addOption(
      numberOption('--rounds <n>', 'trainings of each configuration, minutes apart', ranges.positiveInteger).default(2),
    )
    .option('--again', 'calibrate again, and repeat finished measurements')
    .action(run),
)

async function run({ math, engine, steps, rounds, again }: Flags): Promise<void> {
  checkChoice({ math, engine })
  const file = resultFile(`predict-${choiceName({ math, engine })}`)
  const results = await Results.open<PredictRow>(file, ({ name }) => name)
  const choice: EngineChoice = { math, engine, threads: cpus().length }
  for (let round = 0; round < rounds; round++)
    for (const [at, [preset, ...sets]] of configurations.entries()) {
      const name = [preset, ...sets.map((set) => set.replace('model.', '').replace('train.', ''))].join(' ')
      const redo = again && round === 0
      const stored = redo ? undefined : results.find(name)
      if (stored && stored.measuredMs.length > round) continue
      process.stderr.write(`  ${name}, ${round + 1} of ${rounds} ...\n`)
      const { predictedMs, predictedBytes, measuredMs, measuredBytes } =
        stored ?? (await predict(preset, sets, choice, Boolean(redo && at === 0)))
      const { stepMs, peakBytes } = await measure(preset, sets, choice, steps)
      const measured = { measuredMs: [...measuredMs, stepMs], measuredBytes: [...measuredBytes, peakBytes] }
      await results.put({ name, predictedMs, predictedBytes, ...measured })
    }
  process.stdout.write(`${report(configurations.length, results)}\n  ${shownPath(file)}\n`)
}

async function predict(
  preset: string,
  sets: readonly string[],
  { math, engine, threads }: EngineChoice,
  calibrate: boolean,
): Promise<Omit<PredictRow, 'name'>> {
  const given = [...sets, `runtime.math=${math}`, `runtime.threads=${threads}`].flatMap((set) => ['--set', set])
  const args = ['plan', preset, '--cluster', 'local', '--json', ...given, ...(calibrate ? ['--calibrate'] : [])]
  for await (const line of choirLines(args, engine)) {
    const [best] = (line as Plan).best
    if (best)
      return {
        predictedMs: 1000 * best.time.stepSeconds,
        predictedBytes: best.memory.deviceBytes,
        measuredMs: [],
        measuredBytes: [],
      }
  }
  throw new RunError(`no prediction of ${preset}`)
}

async function measure(preset: string, sets: readonly string[], choice: EngineChoice, steps: number) {
  const training = await TrainingProcess.start(preset, sets, choice)
  try {
    await training.warmUp(WARM_UP)
    return await training.run(steps)
  } finally {
    await training.stop()
  }
}

function report(count: number, { rows }: Results<PredictRow>): string {
  const error = (predicted: number, measured: number) => predicted / measured - 1
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${percent(Math.abs(value), 0)}`
  const medians = rows.map(({ measuredMs, measuredBytes, ...row }) => ({
    ...row,
    measuredMs: median(measuredMs),
    measuredBytes: median(measuredBytes),
  }))
  const cells = medians.map(({ name, predictedMs, measuredMs, predictedBytes, measuredBytes }) => [
    name,
    fixed(predictedMs, 1),
    fixed(measuredMs, 1),
    signed(error(predictedMs, measuredMs)),
    bytes(predictedBytes),
    bytes(measuredBytes),
    signed(error(predictedBytes, measuredBytes)),
  ])
  const mean = (value: (row: (typeof medians)[number]) => number) =>
    percent(medians.reduce((sum, row) => sum + Math.abs(value(row)), 0) / medians.length)
  const means = [
    'mean absolute error',
    '',
    '',
    mean(({ predictedMs, measuredMs }) => error(predictedMs, measuredMs)),
    '',
    '',
    mean(({ predictedBytes, measuredBytes }) => error(predictedBytes, measuredBytes)),
  ]
  const head = ['configuration', 'predicted ms', 'measured', 'error', 'predicted memory', 'measured', 'error']
  return tableText([head, ...cells, means], 'lrrrrrr') + (rows.length < count ? '  some are not measured yet\n' : '')
}
