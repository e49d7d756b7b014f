/** Measures the memory of a rank in three layouts of four ranks, beside the planner's prediction. */
import type { RunConfig } from '../../../src/core/config/run-config.ts'
import { bytes, fixed } from '../../../src/core/text/numbers.ts'
import { loadConfig } from '../../../src/node/run/load-config.ts'
import { forRanks } from '../../../src/node/train/layout.ts'
import { rankMemory } from '../../../src/tools/plan/local/rank-memory.ts'
import { layoutOf } from '../../../src/train/step/trainer.ts'
import { tableText } from '../../support/command.ts'
import { Results, resultFile, shownPath, today } from '../../support/results.ts'
import { memoryOf } from './summary.ts'
import { alternate, type Layout, type Setting, startTraining, trainingSets } from './training.ts'

export interface MemoryRow extends ReturnType<typeof memoryOf> {
  readonly layout: string
  readonly shape: string
  readonly date: string
  /** Predicted bytes of state and program, for the rank that needs the most. */
  readonly predictedBytes: number
}

const layouts: readonly Layout[] = [
  { name: 'batch over 4', ranks: 4, expert: 1 },
  { name: 'experts over 4', ranks: 4, expert: 4 },
  { name: 'experts over 2, batch over 2', ranks: 4, expert: 2 },
]

export async function measureMemory({ shape, place }: Setting): Promise<void> {
  const file = resultFile(`distributed-memory-${shape}`, shape === 'tiny')
  const results = await Results.open<MemoryRow>(file, ({ layout }) => layout)
  for (const layout of layouts) {
    process.stderr.write(`  ${layout.name} ...\n`)
    const pace = { warmUp: 1, turns: 1, steps: 1 }
    const [turns = []] = await alternate([() => startTraining({ shape, place }, layout)], pace)
    const predicted = predictedBytes(await loadConfig(shape, trainingSets(layout)), layout)
    const measured = memoryOf(turns.at(-1) ?? [])
    await results.put({ layout: layout.name, shape, date: today(), ...measured, predictedBytes: predicted })
  }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

/** The planner's prediction of the bytes of state and program, for the rank that needs the most. */
function predictedBytes(requested: RunConfig, { ranks: size }: Layout): number {
  const sums = Array.from({ length: size }, (_, rank) => {
    const place = { rank, size }
    const config = forRanks(requested, place, false)
    const parts = Object.values(rankMemory(config, layoutOf(config, place), config.runtime.threads ?? 1))
    return parts.reduce((sum: number, part) => sum + part, 0)
  })
  return Math.max(...sums)
}

function report(rows: readonly MemoryRow[]): string {
  const head = ['layout', 'state', 'program', 'sum', 'predicted', 'measured / predicted', 'peak of the process']
  const cells = rows.map(({ layout, stateBytes, programBytes, peakBytes, predictedBytes: predicted }) => [
    layout,
    ...[stateBytes, programBytes, stateBytes + programBytes, predicted].map(bytes),
    fixed((stateBytes + programBytes) / predicted, 3),
    bytes(peakBytes),
  ])
  return tableText([head, ...cells], 'lrrrrrr')
}
