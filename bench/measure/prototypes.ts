/**
 * What expert prototyping costs at capacity 1x: nothing, it is said, beside top-1 ("constant computational
 * cost", M6-T), since every token's Z choices share the room of one.
 *
 * Each prototype routing is measured beside top-1 in the same run: two processes take turns of a few
 * steps. Not all three at once: at the shape M three do not fit 24 GB.
 */
import { fixed } from '../../src/cli/format.ts'
import { type BenchmarkRouting, routingSets } from '../../src/train/presets.ts'
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
  /** Of the same run. */
  readonly top1: Side
  /** Time of a step over that of top-1. */
  readonly cost: number
}

export const prototypesName = (options: Pick<PrototypesOptions, 'shape' | 'math' | 'engine'>): string =>
  `prototypes-${options.shape}-${choiceName(options)}`

export async function comparePrototypes(options: PrototypesOptions): Promise<void> {
  const file = options.out ?? resultFile(prototypesName(options), options.shape === 'tiny')
  const results = await Results.open<PrototypesRow>(file, ({ routing }) => routing, thisMachine(options.threads))
  for (const routing of options.routings) {
    process.stderr.write(`  ${options.shape}, ${options.math}, ${routing} beside top-1 ...\n`)
    await results.put(await measure(routing, options))
  }
  process.stdout.write(`${report(results.rows)}\n  ${shownPath(file)}\n`)
}

async function measure(routing: BenchmarkRouting, options: PrototypesOptions): Promise<PrototypesRow> {
  const { shape, math, engine, threads } = options
  const start = (routing: BenchmarkRouting) => TrainingProcess.start(shape, routingSets(routing), options)
  return using(start('top-1'), (top1) =>
    using(start(routing), async (other) => {
      for (const side of [top1, other]) await side.warmUp(WARM_UP)
      let [base, own] = [await top1.run(TURN), await other.run(TURN)]
      for (let turn = 1; turn < options.turns; turn++) {
        base = await top1.run(TURN)
        own = await other.run(TURN)
      }
      return {
        shape,
        routing,
        math,
        engine,
        threads,
        date: today(),
        provider: own.provider,
        stepMs: own.stepMs,
        keptShare: 1 - own.dropRate,
        top1: { stepMs: base.stepMs, keptShare: 1 - base.dropRate },
        cost: own.stepMs / base.stepMs,
      }
    }),
  )
}

function report(rows: readonly PrototypesRow[]): string {
  const head = ['routing', 'ms', 'top-1 ms', 'cost ×', 'kept', 'kept (top-1)']
  const cells = rows.map(({ routing, stepMs, keptShare, top1, cost }) => [
    routing,
    fixed(stepMs, 0),
    fixed(top1.stepMs, 0),
    fixed(cost, 3),
    fixed(keptShare, 3),
    fixed(top1.keptShare, 3),
  ])
  const [first] = rows
  const engine = first ? `\n  ${first.provider}, ${first.math}\n` : ''
  return `${engine}${tableText([head, ...cells], 'lrrrrr')}`
}
