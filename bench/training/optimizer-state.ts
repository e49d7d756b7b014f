/**
 * Measures peak memory and speed of a training whose weights are nearly all in experts, by the precision of AdamW's
 * moments (`train.optimizer.state`). Each precision is trained in a process of its own, because peak memory never
 * decreases.
 *
 *   npm run build && npx tsx bench/training/optimizer-state.ts                 S, dropless top-1, 256 experts
 *   npx tsx bench/training/optimizer-state.ts --shape tiny --experts 8         to try it
 */
import { Command } from 'commander'
import { routingSets } from '../../src/core/config/presets.ts'
import { bytes, count, fixed } from '../../src/core/text/numbers.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import { type StateRow, states } from '../measure/optimizer-state.ts'
import { TrainingProcess, WARM_UP } from '../support/choir.ts'
import { runCommand, shapeOption, tableText, threadsOption } from '../support/command.ts'
import { using } from '../support/line-process.ts'
import { Results, resultFile, shownPath, today } from '../support/results.ts'

interface Flags {
  readonly shape: string
  readonly experts: number
  readonly threads: number
  readonly steps: number
}

const keyOf = ({ shape, experts, state }: Pick<StateRow, 'shape' | 'experts' | 'state'>): string =>
  `${shape}, ${experts} experts, ${state}`

await runCommand(
  new Command('npx tsx bench/training/optimizer-state.ts')
    .description("Measures peak memory and speed by the precision of AdamW's moments, in float32 with oneDNN.")
    .addOption(shapeOption())
    .addOption(numberOption('--experts <n>', 'experts of a layer', ranges.positiveInteger).default(256))
    .addOption(threadsOption())
    .addOption(numberOption('--steps <n>', 'number of steps to time', ranges.positiveInteger).default(6))
    .action(run),
)

async function run({ shape, experts, threads, steps }: Flags): Promise<void> {
  const file = resultFile('optimizer-state', shape === 'tiny')
  const results = await Results.open<StateRow>(file, keyOf)
  const rows: StateRow[] = []
  for (const state of states) {
    const sets = [...routingSets('dropless'), `model.moe.experts=${experts}`, `train.optimizer.state=${state}`]
    const choice = { math: 'float32', engine: 'onednn', threads } as const
    const row = await using(TrainingProcess.start(shape, sets, choice), async (choir): Promise<StateRow> => {
      await choir.warmUp(WARM_UP)
      const { parameters, tokensPerSecond, stepMs, updateMs, peakBytes } = await choir.run(steps)
      return {
        ...{ shape, experts, threads, state, date: today() },
        ...{ parameters, tokensPerSecond, stepMs, updateMs, peakBytes },
      }
    })
    rows.push(row)
    await results.put(row)
  }
  const [first] = rows as [StateRow]
  const cells = rows.map((row) => [
    row.state,
    count(row.tokensPerSecond),
    fixed(row.stepMs, 1),
    fixed(row.updateMs, 1),
    bytes(row.peakBytes),
    fixed(row.peakBytes / first.peakBytes, 3),
  ])
  const head = ['state', 'tokens/s', 'ms a step', 'update', 'peak memory', 'over float32']
  process.stdout.write(`${tableText([head, ...cells], 'lrrrrr')}\n  ${shownPath(file)}\n`)
}
