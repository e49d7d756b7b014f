/**
 * How the cost of training grows: the measured points, and a training for each.
 *
 * Each axis is varied alone around one model. Routing is top-1 and dropless: without a capacity every token is
 * computed, even if the load is uneven, so points differ only along their axis. More experts add weights but no
 * arithmetic: hidden size and activated experts stay the same. With the width, the number of heads (of the same size)
 * and the hidden size of experts grow. With the sequence, the batch shrinks, so that a step has the same tokens.
 */
import { routingSets } from '../../src/core/config/presets.ts'
import type { BenchmarkResult } from '../../src/node/measure/benchmark.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { TrainingProcess, WARM_UP } from '../support/choir.ts'
import { using } from '../support/line-process.ts'
import { today } from '../support/results.ts'

export const axes = ['experts', 'width', 'sequence', 'threads'] as const
export type Axis = (typeof axes)[number]
export type Point = Readonly<Record<Axis, number>>

export interface ScalingRow extends Point, Pick<BenchmarkResult, Measured> {
  readonly shape: string
  readonly date: string
}

type Measured =
  | 'provider'
  | 'parameters'
  | 'activeParameters'
  | 'tokensPerSecond'
  | 'stepMs'
  | 'gradientMs'
  | 'updateMs'
  | 'mfu'
  | 'peakFlops'
  | 'peakBytes'

export const keyOf = ({ experts, width, sequence, threads }: Point): string =>
  `experts ${experts}, width ${width}, sequence ${sequence}, threads ${threads}`

/** The points of each axis. Every axis includes the base model. */
export async function seriesOf(shape: string, cores: number): Promise<Readonly<Record<Axis, readonly Point[]>>> {
  const { model, train } = await loadConfig(shape, [])
  const threads = Array.from({ length: 1 + Math.floor(Math.log2(cores)) }, (_, i) => 2 ** i)
  const { width, sequence } = model
  const base: Point = { experts: model.moe?.experts ?? 1, width, sequence, threads: threads.at(-1) ?? 1 }
  const vary = (axis: Axis, values: readonly number[]) => values.map((value) => ({ ...base, [axis]: value }))
  const longest = train.batch * sequence
  const sequences = [sequence / 2, sequence, 2 * sequence, 4 * sequence, 4096].filter((length) => length <= longest)
  return {
    experts: vary('experts', [8, 16, 32, 64, 128, 256]),
    width: vary('width', [width / 2, width, 2 * width]),
    sequence: vary('sequence', sequences),
    threads: vary('threads', threads),
  }
}

export async function measurePoint(shape: string, point: Point, steps: number): Promise<ScalingRow> {
  const { model, train } = await loadConfig(shape, [])
  const widthRatio = point.width / model.width
  const sets = [
    ...routingSets('dropless'),
    `model.moe.experts=${point.experts}`,
    `model.moe.hidden=${(model.moe?.hidden ?? 0) * widthRatio}`,
    `model.width=${point.width}`,
    `model.heads=${model.heads * widthRatio}`,
    `model.sequence=${point.sequence}`,
    `train.batch=${(train.batch * model.sequence) / point.sequence}`,
  ]
  const choice = { math: 'float32', engine: 'onednn', threads: point.threads } as const
  return using(TrainingProcess.start(shape, sets, choice), async (choir) => {
    await choir.warmUp(WARM_UP)
    const { provider, parameters, activeParameters, tokensPerSecond, stepMs, gradientMs, updateMs, ...rest } =
      await choir.run(steps)
    const { mfu, peakFlops, peakBytes } = rest
    const size = { provider, parameters, activeParameters }
    const speed = { tokensPerSecond, stepMs, gradientMs, updateMs, mfu, peakFlops, peakBytes }
    return { shape, ...point, date: today(), ...size, ...speed }
  })
}
