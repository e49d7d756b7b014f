/**
 * Compares losses between engines and precisions: the same run on ONNX Runtime alone, with oneDNN and in bf16, and
 * with other seeds as a scale for the differences. measure/loss-curves.ts defines the comparison.
 *
 *   npm run build && npx tsx bench/training/loss-curves.ts --steps 500
 *   npx tsx bench/training/loss-curves.ts --steps 500 --twice          also repeats the runs of the first seed
 *
 * Runs are kept under --out. Finished runs are not repeated; interrupted ones are continued.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { presetNames } from '../../src/core/config/presets.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import {
  type Curve,
  type Difference,
  differenceOf,
  type Place,
  placeOf,
  type Repetition,
  repetitionOf,
  type Spread,
  spreadOf,
} from '../measure/loss-curves.ts'
import { type TrainingRun, train } from '../measure/training-run.ts'
import { runCommand, tableText, threadsOption } from '../support/command.ts'
import { fileIn, resultFile, shownPath, thisMachine, today, writeJson } from '../support/results.ts'

interface Flags {
  readonly preset: string
  readonly steps: number
  readonly threads: number
  readonly out: string
  readonly twice?: true
  readonly again?: true
}

interface Report {
  readonly spread: Spread
  readonly differences: readonly Difference[]
  readonly places: readonly Place[]
  readonly repetitions: readonly Repetition[]
  readonly curves: readonly Curve[]
}

await runCommand(
  new Command('npx tsx bench/training/loss-curves.ts')
    .description('Trains the same run on several engines, precisions and seeds, and compares the losses.')
    .addOption(new Option('--preset <name>', 'configuration to train').choices(presetNames).default('demo'))
    .addOption(numberOption('--steps <n>', 'steps of each run', ranges.positiveInteger).default(500))
    .addOption(threadsOption())
    .option('--out <dir>', 'folder of the runs', shownPath(fileIn('runs/loss-curves')))
    .option('--twice', 'train the runs of the first seed twice, and check that they are bitwise equal')
    .option('--again', 'repeat finished runs')
    .action(run),
)

async function run({ preset, steps, threads, out, twice, again }: Flags): Promise<void> {
  const folder = join(out, `${preset}-${steps}-threads-${threads}`)
  if (again) await rm(folder, { recursive: true, force: true })
  const trainCurve = (
    math: TrainingRun['math'],
    engine: TrainingRun['engine'],
    seed: number,
    repeated = '',
  ): Promise<Curve> => {
    const name = `${math}-${engine}-seed-${seed}${repeated}`
    return train({ name, preset, steps, math, engine, seed, threads }, folder)
  }
  const reference = await trainCurve('float32', 'onnxruntime', 1)
  const float32 = await trainCurve('float32', 'onednn', 1)
  const bf16 = await trainCurve('bf16', 'onednn', 1)
  const otherSeeds = [await trainCurve('float32', 'onednn', 2), await trainCurve('float32', 'onednn', 3)]
  const repetitions: Repetition[] = []
  if (twice)
    for (const curve of [reference, float32, bf16])
      repetitions.push(repetitionOf(curve, await trainCurve(curve.math, curve.engine, 1, '-again')))
  const spread = spreadOf([float32, ...otherSeeds].map(({ heldOutLoss }) => heldOutLoss))
  const report: Report = {
    spread,
    differences: [
      differenceOf(float32, reference),
      differenceOf(bf16, float32),
      ...otherSeeds.map((curve) => differenceOf(curve, float32)),
    ],
    places: [placeOf(bf16, float32, spread), placeOf(reference, float32, spread)],
    repetitions,
    curves: [reference, float32, bf16, ...otherSeeds],
  }
  const file = resultFile(preset === 'demo' ? 'loss-curves' : `loss-curves-${preset}`, preset === 'tiny')
  await writeJson(file, { machine: thisMachine(threads), date: today(), preset, steps, ...report })
  process.stdout.write(`${reportText(report, steps)}\n  ${shownPath(file)}\n`)
}

function reportText({ spread, differences, places, repetitions, curves }: Report, steps: number): string {
  const ends = curves.map(({ name, provider, loss, heldOutLoss, bitsPerByte }) => [
    name,
    provider,
    fixed(loss.at(-1) ?? Number.NaN, 4),
    fixed(heldOutLoss, 4),
    fixed(bitsPerByte, 4),
  ])
  const gaps = differences.map(({ of, from, first10, first100, all }) => [
    `${of} from ${from}`,
    ...[first10, first100, all].map((gap) => gap.toExponential(1)),
  ])
  const lines = [
    `seeds, float32: mean ${fixed(spread.mean, 4)}, standard deviation ${fixed(spread.deviation, 4)}, range ${fixed(spread.range, 4)}`,
    ...places.map(
      ({ of, difference, deviations, withinSpread }) =>
        `${of}: ${fixed(Math.abs(difference), 4)} ${difference < 0 ? 'below' : 'above'} float32-onednn of the same seed, ` +
        `${withinSpread ? 'within' : 'more than'} the range of seeds; ${fixed(deviations, 2)} standard deviations from their mean`,
    ),
    ...repetitions.map(
      ({ of, losses, parameters }) =>
        `${of}, twice: losses ${losses ? 'bitwise equal' : 'NOT equal'}, parameters ${parameters ? 'bitwise equal' : 'NOT equal'}`,
    ),
  ]
  return (
    tableText([['run', 'engine', 'last loss', 'held-out loss', 'bits per byte'], ...ends], 'llrrr') +
    tableText([['largest difference of training losses', 'steps 1–10', '1–100', `1–${steps}`], ...gaps], 'lrrr') +
    `\n${lines.map((line) => `  ${line}\n`).join('')}`
  )
}
