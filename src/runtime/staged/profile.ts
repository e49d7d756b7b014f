/**
 * Where the time of a staged program goes. Threads write down when they begin and end each step; a step
 * lasts from its beginning on the first thread to the beginning of the next, so that the times of all
 * steps add up to the run, waiting included. Inside an ONNX stage ONNX Runtime's own recording says which
 * node took what; the rest of the stage is the price of the stage.
 */
import type { StagedModel } from '../../graph/index.ts'
import type { NodeTime, StepEvent } from '../contract.ts'
import type { KernelCall } from './contract.ts'
import { kernels } from './kernels/index.ts'
import type { Script } from './script.ts'

export class StepTimes {
  private readonly script: Script
  private readonly times: Float64Array
  private readonly totals: Float64Array
  private runs = 0

  constructor(script: Script) {
    this.script = script
    this.times = new Float64Array(script.times)
    this.totals = new Float64Array(script.steps.length)
  }

  /** Takes in the run that has just ended. */
  add(): void {
    const { totals, times } = this
    const last = totals.length - 1
    totals.forEach((_, i) => {
      const end = i === last ? times[2 * i + 1] : times[2 * i + 2]
      totals[i] = (totals[i] as number) + (end as number) - (times[2 * i] as number)
    })
    this.runs++
  }

  /** @param nodes Times of the nodes of each ONNX stage. */
  nodeTimes(stages: StagedModel['stages'], nodes: (stage: number) => readonly NodeTime[]): NodeTime[] {
    const { runs } = this
    return stages.flatMap((stage, at): NodeTime[] => {
      const microseconds = 1000 * (this.totals[at] as number)
      const step = this.script.steps[at]
      if (stage.kind === 'kernel' && step?.kind === 'kernel') {
        const kernel = kernels[stage.type]
        const work = kernel?.work?.(step.call as KernelCall)
        const { op, layer } = stage.origin
        return [
          {
            kind: stage.type,
            provider: kernel?.provider ?? 'WASM',
            op,
            layer,
            runs,
            microseconds,
            ...(work && { flops: work.flops * runs, bytes: work.bytes * runs }),
          },
        ]
      }
      const inside = nodes(at)
      const rest = inside.reduce((left, node) => left - node.microseconds, microseconds)
      const cost = { kind: 'Run', provider: 'ONNX Runtime', op: 'stage', layer: '', runs } as const
      return [...inside, { ...cost, microseconds: Math.max(0, rest) }]
    })
  }

  /** The last run, thread by thread. */
  events(stages: StagedModel['stages']): StepEvent[] {
    const { times, script } = this
    const steps = script.steps.length
    return Array.from({ length: times.length / 2 }, (_, i) => {
      const stage = stages[i % steps]
      const origin = stage?.kind === 'kernel' ? stage.origin : { op: 'ONNX Runtime', layer: '' }
      const name = stage?.kind === 'kernel' ? stage.type : 'ONNX Runtime'
      const [begin, end] = [times[2 * i] as number, times[2 * i + 1] as number]
      return { thread: Math.floor(i / steps), name, ...origin, begin, end }
    })
  }
}
