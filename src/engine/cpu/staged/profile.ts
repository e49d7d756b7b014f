/**
 * Profiles of staged programs. Threads record when they begin and end each step. A step lasts from its begin on
 * the first thread to the begin of the next, so the times of all steps, including waiting, add up to the run.
 * Inside an ONNX stage, the node times come from ONNX Runtime's recording, scaled to the counted runs
 * (recording.ts); the rest of the stage is overhead.
 */
import type { StagedModel } from '../../../core/graph/stages/contract.ts'
import { RunClock } from '../../contract/recording.ts'
import type { NodeTime, StepEvent } from '../../contract/times.ts'
import type { KernelCall } from './contract.ts'
import { opKernels } from './kernels/table.ts'
import type { Script } from './script.ts'

export type Library = 'oneDNN' | 'ONNX Runtime'

export class StepTimes {
  private readonly script: Script
  private readonly times: Float64Array
  private readonly clocks: readonly RunClock[]
  private readonly library: Library

  /** @param library The library that provides the primitives. */
  constructor(script: Script, library: Library) {
    this.script = script
    this.library = library
    this.times = new Float64Array(script.times)
    this.clocks = script.steps.map(() => new RunClock())
  }

  /** Adds the run that has just ended. */
  add(): void {
    const { clocks, times } = this
    const last = clocks.length - 1
    clocks.forEach((clock, i) => {
      const end = i === last ? times[2 * i + 1] : times[2 * i + 2]
      clock.add((end as number) - (times[2 * i] as number))
    })
  }

  /** Excludes the runs so far. */
  reset(): void {
    for (const clock of this.clocks) clock.reset()
  }

  /** Times of all nodes since the last reset. @param nodes Times of the nodes of each ONNX stage. */
  nodeTimes(stages: StagedModel['stages'], nodes: (stage: number) => readonly NodeTime[]): NodeTime[] {
    return stages.flatMap((stage, at): NodeTime[] => {
      const clock = this.clocks[at] as RunClock
      const { runs, microseconds } = clock
      const step = this.script.steps[at]
      if (stage.kind === 'kernel' && step?.kind === 'kernel') {
        const kernel = opKernels[stage.type]
        const work = kernel?.work?.(step.call as KernelCall)
        const { op, layer } = stage.origin
        return [
          {
            kind: stage.type,
            provider: kernel && kernel.provider !== 'primitives' ? kernel.provider : this.library,
            op,
            layer,
            runs,
            microseconds,
            ...(work && { flops: work.flops * runs, bytes: work.bytes * runs }),
          },
        ]
      }
      return clock.scale(nodes(at))
    })
  }

  /**
   * The events of the last run, by thread.
   * @param nodes Events of the nodes of an ONNX stage in the last of `runs` runs, if known; their times are from the
   * start of the stage.
   */
  events(stages: StagedModel['stages'], nodes: (stage: number, runs: number) => readonly StepEvent[]): StepEvent[] {
    const { times, script } = this
    const steps = script.steps.length
    return Array.from({ length: times.length / 2 }, (_, i): StepEvent[] => {
      const stage = stages[i % steps]
      const thread = Math.floor(i / steps)
      const [begin, end] = [times[2 * i] as number, times[2 * i + 1] as number]
      if (stage?.kind === 'kernel') return [{ thread, name: stage.type, ...stage.origin, begin, end }]
      // Only the first thread runs ONNX models.
      if (thread > 0) return []
      const inside = nodes(i, this.clocks[i]?.allRuns ?? 0)
      const run: StepEvent = { thread, name: 'Run', op: 'ONNX Runtime', layer: '', begin, end }
      return [run, ...inside.map((node) => ({ ...node, begin: begin + node.begin, end: begin + node.end }))]
    }).flat()
  }
}
