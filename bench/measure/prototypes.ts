/**
 * Measures the cost of expert prototyping at capacity 1x against top-1. M6-T claims "constant computational cost",
 * since the Z choices of a token share the capacity of one choice.
 *
 * Each prototype routing is measured against top-1 in the same run: two processes take turns of a few steps. The three
 * routings do not run at once, since at shape M three processes do not fit into 24 GB.
 *
 * Choir computes only rows that are kept. Z choices fill the experts up to their capacity, 1.25 of what top-1 needs
 * if the load is even; top-1 fills them only with the tokens it has. So prototypes are also measured at capacity
 * factor 1 against top-1 without drops, with the same number of rows on both sides.
 */

import { type BenchmarkRouting, routingSets } from '../../src/core/config/presets.ts'
import { fixed } from '../../src/core/text/numbers.ts'
import { choiceName, type EngineChoice, TrainingProcess, TURN, WARM_UP } from '../support/choir.ts'
import { tableText } from '../support/command.ts'
import { using } from '../support/line-process.ts'
import { Results, resultFile, shownPath, thisMachine, today } from '../support/results.ts'

export const prototypeRoutings = ['2 top-1 1x', '4 top-1 1x'] as const satisfies readonly BenchmarkRouting[]

export interface PrototypesOptions extends EngineChoice {
  readonly shape: string
  readonly routings: readonly BenchmarkRouting[]
  readonly turns: number
  readonly out?: string
}

/** Medians over the timed steps. */
interface Side {
  readonly stepMs: number
  readonly keptShare: number
}

export interface PrototypesRow extends Side, EngineChoice {
  readonly shape: string
  readonly routing: BenchmarkRouting
  readonly date: string
  readonly provider: string
  /** Top-1 in the same run. */
  readonly top1: Side
  /** Step time divided by the step time of top-1. */
  readonly cost: number
  /** The same measurement at capacity factor 1, against dropless top-1. */
  readonly equalRows: Side & { readonly dropless: Side; readonly cost: number }
}

export const prototypesName = (options: Pick<PrototypesOptions, 'shape' | 'math' | 'engine'>): string =>
  `prototypes-${options.shape}-${choiceName(options)}`

export async function comparePrototypes(options: PrototypesOptions): Promise<void> {
  const file = options.out ?? resultFile(prototypesName(options), options.shape === 'tiny')
  const results = await Results.open<PrototypesRow>(file, ({ routing }) => routing, thisMachine(options.threads))
  for (const routing of options.routings) {
    process.stderr.write(`  ${options.shape}, ${options.math}, ${routing} against top-1 ...\n`)
    await results.put(await measure(routing, options))
  }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

async function measure(routing: BenchmarkRouting, options: PrototypesOptions): Promise<PrototypesRow> {
  const { shape, math, engine, threads } = options
  const usual = await measurePair(routingSets('top-1'), routingSets(routing), options)
  const equal = await measurePair(routingSets('dropless'), [...routingSets(routing), 'model.moe.factor=1'], options)
  const { provider, base, own, cost } = usual
  return {
    shape,
    routing,
    math,
    engine,
    threads,
    date: today(),
    provider,
    ...own,
    top1: base,
    cost,
    equalRows: { ...equal.own, dropless: equal.base, cost: equal.cost },
  }
}

async function measurePair(baseSets: readonly string[], ownSets: readonly string[], options: PrototypesOptions) {
  const start = (sets: readonly string[]) => TrainingProcess.start(options.shape, sets, options)
  return using(start(baseSets), (first) =>
    using(start(ownSets), async (second) => {
      for (const side of [first, second]) await side.warmUp(WARM_UP)
      let [base, own] = [await first.run(TURN), await second.run(TURN)]
      for (let turn = 1; turn < options.turns; turn++) {
        base = await first.run(TURN)
        own = await second.run(TURN)
      }
      const sideOf = ({ stepMs, dropRate }: typeof own): Side => ({ stepMs, keptShare: 1 - dropRate })
      return { provider: own.provider, base: sideOf(base), own: sideOf(own), cost: own.stepMs / base.stepMs }
    }),
  )
}

function report(rows: readonly PrototypesRow[]): string {
  const head = ['routing', 'ms', 'top-1 ms', 'cost ×', 'kept', 'kept (top-1)', 'equal rows: cost ×', 'kept']
  const cells = rows.map(({ routing, stepMs, keptShare, top1, cost, equalRows }) => [
    routing,
    fixed(stepMs, 0),
    fixed(top1.stepMs, 0),
    fixed(cost, 3),
    fixed(keptShare, 3),
    fixed(top1.keptShare, 3),
    fixed(equalRows.cost, 3),
    fixed(equalRows.keptShare, 3),
  ])
  const [first] = rows
  const engine = first ? `\n  ${first.provider}, ${first.math}\n` : ''
  return `${engine}${tableText([head, ...cells], 'lrrrrrrr')}`
}
