/**
 * A recording of times that can be reset. ONNX Runtime adds up the times of its nodes from compilation to the end and
 * cannot be reset, but the first runs are slower (primitives are compiled, memory is touched). So we time whole runs
 * ourselves and report node times as shares of the runs since the last reset.
 */
import type { NodeTime } from './times.ts'

/** The overhead of a run as a node: the time outside the nodes, including the time to record them. */
const callOfRun = { kind: 'Run', provider: 'ONNX Runtime', op: 'ONNX Runtime call', layer: '' } as const

const origin = performance.timeOrigin

/** The time in milliseconds since the epoch, with fractions, as in `StepEvent`; it is comparable between threads. */
export const now = (): number => origin + performance.now()

export class RunClock {
  /** Number of runs, including those before a reset. */
  allRuns = 0
  private allMs = 0
  private runsBefore = 0
  private msBefore = 0

  /** @param ms Duration of a run. */
  add(ms: number): void {
    this.allRuns++
    this.allMs += ms
  }

  /** Excludes the runs so far. */
  reset(): void {
    this.runsBefore = this.allRuns
    this.msBefore = this.allMs
  }

  /** Number of runs since the last reset. */
  get runs(): number {
    return this.allRuns - this.runsBefore
  }

  get microseconds(): number {
    return 1000 * (this.allMs - this.msBefore)
  }

  /**
   * Converts node times over all runs to times since the last reset. They are scaled like the time of whole runs,
   * and their sum is never more than that time. If the recording filled up early (ONNX Runtime keeps a million
   * events), the recorded runs represent the missing ones. The time outside all nodes comes last.
   */
  scale(nodes: readonly NodeTime[]): NodeTime[] {
    const { runs, microseconds } = this
    if (runs === 0 || microseconds === 0) return []
    const slowdown = microseconds / runs / ((1000 * this.allMs) / this.allRuns)
    const scaled = nodes.map((node) => {
      const times = runs / node.runs
      return {
        ...node,
        runs,
        microseconds: node.microseconds * times * slowdown,
        ...(node.flops !== undefined && { flops: node.flops * times }),
        ...(node.bytes !== undefined && { bytes: node.bytes * times }),
      }
    })
    const sum = scaled.reduce((total, node) => total + node.microseconds, 0)
    const rest: NodeTime = { ...callOfRun, runs, microseconds: Math.max(0, microseconds - sum) }
    if (sum <= microseconds) return [...scaled, rest]
    return [...scaled.map((node) => ({ ...node, microseconds: (node.microseconds * microseconds) / sum })), rest]
  }
}
