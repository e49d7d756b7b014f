/**
 * Compares two ranks with one process on one machine, one thread each, in turns: with the same batch (strong scaling),
 * and with half of it for the process alone (weak scaling). It also measures the cost of ranks for a single one, as a
 * process under `mpirun -n 1` against a process without mpirun, and the cost of `parallel.reproducible`, as a training
 * with a fixed tree of sums against one without.
 */

import { fixed } from '../../../src/core/text/numbers.ts'
import { loadConfig } from '../../../src/node/run/load-config.ts'
import { tableText } from '../../support/command.ts'
import { Results, resultFile, shownPath, today } from '../../support/results.ts'
import { memoryOf, ratio, stepTimes } from './summary.ts'
import { alternate, type Layout, type Setting, startTraining } from './training.ts'

export interface ScalingRow {
  readonly name: string
  readonly shape: string
  readonly library: string
  readonly date: string
  /** Milliseconds, one value per step. */
  readonly aloneTimes: readonly number[]
  readonly ranksTimes: readonly number[]
  /** Tokens a second of the ranks, divided by the tokens a second of the process alone. */
  readonly speedup: number
  /** Peak memory of a rank's process, divided by the peak of the process alone. */
  readonly memoryRatio: number
}

/** A comparison of a layout with another, mostly a process alone. */
interface Comparison {
  readonly name: string
  readonly alone: Layout
  readonly other: Layout
  /** Tokens in a step of `other`, divided by the tokens in a step of `alone`. */
  readonly tokens: number
}

const alone: Layout = { name: 'one process', ranks: 1, expert: 1 }
const shards: Layout = { ...alone, name: '8 shards', sets: ['parallel.shards=8'] }
const data: Layout = { name: 'batch over 2', ranks: 2, expert: 1 }
const experts: Layout = { name: 'experts over 2', ranks: 2, expert: 2 }

const withoutTree = (layout: Layout): Layout => ({
  ...layout,
  sets: [...(layout.sets ?? []), 'parallel.reproducible=false'],
})

async function comparisons(shape: string): Promise<Comparison[]> {
  const { train } = await loadConfig(shape, [])
  const half = { ...alone, sets: [`train.batch=${train.batch / 2}`] }
  return [
    { name: 'strong, batch over 2', alone, other: data, tokens: 1 },
    { name: 'strong, experts over 2', alone, other: experts, tokens: 1 },
    { name: 'strong, experts over 2, parallel.reproducible=false', alone, other: withoutTree(experts), tokens: 1 },
    { name: 'weak, batch over 2', alone: half, other: data, tokens: 2 },
    { name: 'weak, experts over 2', alone: half, other: experts, tokens: 2 },
    { name: 'one rank', alone: { ...alone, launched: false }, other: alone, tokens: 1 },
    ...[shards, data, experts].map((other) => ({
      name: `fixed tree of sums, ${other.name}`,
      alone: withoutTree(other),
      other,
      tokens: 1,
    })),
  ]
}

export async function measureScaling({ shape, place, pace }: Setting): Promise<void> {
  const file = resultFile(`distributed-scaling-${shape}`, shape === 'tiny')
  const results = await Results.open<ScalingRow>(file, ({ name, library }) => `${library}, ${name}`)
  for (const { name, alone, other, tokens } of await comparisons(shape)) {
    process.stderr.write(`  ${name} ...\n`)
    const starts = [alone, other].map((layout) => () => startTraining({ shape, place }, layout))
    const [first = [], second = []] = await alternate(starts, pace)
    const [aloneTimes, ranksTimes] = [stepTimes(first), stepTimes(second)]
    await results.put({
      name,
      shape,
      library: place.library,
      date: today(),
      aloneTimes,
      ranksTimes,
      speedup: tokens * ratio(aloneTimes, ranksTimes),
      memoryRatio: memoryOf(second.at(-1) ?? []).peakBytes / memoryOf(first.at(-1) ?? []).peakBytes,
    })
  }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

function report(rows: readonly ScalingRow[]): string {
  const head = ['MPI', '', 'speed ×', 'memory of a rank ×', 'steps']
  const cells = rows.map(({ library, name, speedup, memoryRatio, ranksTimes }) => [
    library,
    name,
    fixed(speedup, 2),
    fixed(memoryRatio, 2),
    String(ranksTimes.length),
  ])
  return tableText([head, ...cells], 'llrrr')
}
