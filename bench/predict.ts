/**
 * Predicted, then run: step time and peak memory of Choir's own training as `choir plan --cluster local` says
 * them, beside what a training then takes. None of these configurations is among those that calibrate.
 *
 *   npm run build && npx tsx bench/predict.ts                 what is not measured yet
 *   npx tsx bench/predict.ts --math bf16
 *   npx tsx bench/predict.ts --again                          all anew, with a new calibration
 */
import { cpus } from 'node:os'
import { Command } from 'commander'
import { bytes, fixed, percent } from '../src/cli/format.ts'
import { mathOption, numberOption, ranges } from '../src/cli/options.ts'
import { RunError } from '../src/errors.ts'
import type { Plan } from '../src/plan/index.ts'
import { choirLines, type EngineChoice, TrainingProcess, WARM_UP } from './support/choir.ts'
import { runCommand, tableText } from './support/command.ts'
import { Results, resultFile, shownPath } from './support/results.ts'

interface Flags {
  readonly math?: 'float32' | 'bf16'
  readonly steps: number
  readonly again?: true
}

export interface PredictRow {
  readonly name: string
  readonly predictedMs: number
  readonly measuredMs: number
  readonly predictedBytes: number
  readonly measuredBytes: number
}

/** Sizes, routers, capacities, optimizers: what each sets beside its preset. */
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
  new Command('npx tsx bench/predict.ts')
    .description('Compares predictions of `choir plan --cluster local` with trainings.')
    .addOption(mathOption().default('float32'))
    .addOption(numberOption('--steps <n>', 'steps that are timed', ranges.positiveInteger).default(8))
    .option('--again', 'calibrate anew, and measure what is measured already')
    .action(run),
)

async function run({ math = 'float32', steps, again }: Flags): Promise<void> {
  const file = resultFile(`predict-${math}`)
  const results = await Results.open<PredictRow>(file, ({ name }) => name)
  const choice: EngineChoice = { math, engine: 'onednn', threads: cpus().length }
  let calibrate = again ?? false
  for (const [preset, ...sets] of configurations) {
    const name = [preset, ...sets.map((set) => set.replace('model.', '').replace('train.', ''))].join(' ')
    if (results.find(name) && !again) continue
    process.stderr.write(`  ${name} ...\n`)
    const predicted = await prediction(preset, sets, choice, calibrate)
    calibrate = false
    await results.put({ name, ...predicted, ...(await measurement(preset, sets, choice, steps)) })
  }
  process.stdout.write(`${report(configurations.length, results)}\n  ${shownPath(file)}\n`)
}

async function prediction(
  preset: string,
  sets: readonly string[],
  { math, threads }: EngineChoice,
  calibrate: boolean,
) {
  const given = [...sets, `runtime.math=${math}`, `runtime.threads=${threads}`].flatMap((set) => ['--set', set])
  const args = ['plan', preset, '--cluster', 'local', '--json', ...given, ...(calibrate ? ['--calibrate'] : [])]
  for await (const line of choirLines(args)) {
    const [best] = (line as Plan).best
    if (best) return { predictedMs: 1000 * best.time.stepSeconds, predictedBytes: best.memory.deviceBytes }
  }
  throw new RunError(`no prediction of ${preset}`)
}

async function measurement(preset: string, sets: readonly string[], choice: EngineChoice, steps: number) {
  const training = await TrainingProcess.start(preset, sets, choice)
  try {
    await training.warmUp(WARM_UP)
    const { stepMs, peakBytes } = await training.run(steps)
    return { measuredMs: stepMs, measuredBytes: peakBytes }
  } finally {
    await training.stop()
  }
}

function report(count: number, { rows }: Results<PredictRow>): string {
  const error = (predicted: number, measured: number) => predicted / measured - 1
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${percent(Math.abs(value), 0)}`
  const cells = rows.map(({ name, predictedMs, measuredMs, predictedBytes, measuredBytes }) => [
    name,
    fixed(predictedMs, 1),
    fixed(measuredMs, 1),
    signed(error(predictedMs, measuredMs)),
    bytes(predictedBytes),
    bytes(measuredBytes),
    signed(error(predictedBytes, measuredBytes)),
  ])
  const mean = (value: (row: PredictRow) => number) =>
    percent(rows.reduce((sum, row) => sum + Math.abs(value(row)), 0) / rows.length)
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
