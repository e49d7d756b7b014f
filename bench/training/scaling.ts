/**
 * Measures how the cost of training grows: tokens per second against experts, width, sequence and threads.
 * measure/scaling.ts defines the points.
 *
 *   npm run build && npx tsx bench/training/scaling.ts                 points that are not measured yet
 *   npx tsx bench/training/scaling.ts --only experts --again           the points of one axis again
 *   npx tsx bench/training/scaling.ts --figure                         draws docs/scaling.svg from the results
 */
import { writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { Command, Option } from 'commander'
import { RunError } from '../../src/core/errors.ts'
import { bytes, count, fixed, percent } from '../../src/core/text/numbers.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import { type Axis, axes, keyOf, measurePoint, type Point, type ScalingRow, seriesOf } from '../measure/scaling.ts'
import { figure } from '../measure/scaling-figure.ts'
import { runCommand, shapeOption, tableText } from '../support/command.ts'
import { fileIn, Results, type RowFile, readJson, resultFile, shownPath } from '../support/results.ts'

interface Flags {
  readonly shape: string
  readonly only?: Axis
  readonly steps: number
  readonly again?: true
  readonly figure?: true
}

type Series = Readonly<Record<Axis, readonly Point[]>>

await runCommand(
  new Command('npx tsx bench/training/scaling.ts')
    .description('Measures how the cost of training grows, in float32 with oneDNN.')
    .addOption(shapeOption())
    .addOption(new Option('--only <axis>', 'measure this axis only').choices(axes))
    .addOption(numberOption('--steps <n>', 'number of steps to time at each point', ranges.positiveInteger).default(6))
    .option('--again', 'repeat finished measurements')
    .option('--figure', 'draw the stored results and measure nothing')
    .action(run),
)

async function run({ shape, only, steps, again, figure: draw }: Flags): Promise<void> {
  const file = resultFile(nameOf(shape), shape === 'tiny')
  if (draw) {
    // The results may come from another machine.
    const stored = await readJson<RowFile<ScalingRow>>(file)
    if (!stored)
      throw new RunError(`nothing to draw: no ${shownPath(file)} (measure first: npx tsx bench/training/scaling.ts)`)
    const svg = fileIn(shape === 'tiny' ? 'bench/results/scaling.svg' : `docs/${nameOf(shape)}.svg`)
    await writeFile(svg, figure(await seriesOf(shape, stored.machine.logicalCores), stored.rows, stored.machine))
    process.stdout.write(`  ${shownPath(svg)}\n`)
    return
  }
  const results = await Results.open<ScalingRow>(file, keyOf)
  const series = await seriesOf(shape, cpus().length)
  const points = only ? series[only] : axes.flatMap((axis) => series[axis])
  for (const [key, point] of new Map(points.map((point) => [keyOf(point), point]))) {
    if (results.find(key) && !again) continue
    process.stderr.write(`  ${key} ...\n`)
    await results.put(await measurePoint(shape, point, steps))
  }
  process.stdout.write(`${report(series, results)}\n  ${shownPath(file)}\n`)
}

// A function declaration is hoisted: the command above runs before this line.
function nameOf(shape: string): string {
  return shape === 'M' ? 'scaling-M' : 'scaling'
}

function report(series: Series, results: Results<ScalingRow>): string {
  const head = ['tokens/s', 'ms a step', 'gradient', 'update', 'MFU', 'parameters', 'peak memory']
  return axes
    .map((axis) => {
      const rows = series[axis].flatMap((point) => results.find(keyOf(point)) ?? [])
      const cells = rows.map((row) => [
        String(row[axis]),
        count(row.tokensPerSecond),
        fixed(row.stepMs, 1),
        fixed(row.gradientMs, 1),
        fixed(row.updateMs, 1),
        percent(row.mfu, 0),
        count(row.parameters),
        bytes(row.peakBytes),
      ])
      return tableText([[axis, ...head], ...cells], 'rrrrrrrr')
    })
    .join('')
}
