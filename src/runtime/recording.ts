/**
 * A recording that can begin anew. ONNX Runtime adds up the time of its nodes from compilation to the end
 * and cannot be reset, but the first runs (primitives to compile, memory to touch) are not like the others.
 * So we time whole runs ourselves, and tell the nodes' times as shares of the runs that count.
 */
import type { NodeTime } from './times.ts'

/** The price of a run: what happens around the nodes and between them, their recording included. */
const callOfRun = { kind: 'Run', provider: 'ONNX Runtime', op: 'ONNX Runtime call', layer: '' } as const

/** Milliseconds since the epoch, with fractions, as in `StepEvent`. */
export const now = (): number => performance.timeOrigin + performance.now()

export class RunClock {
  /** Runs, those before a reset included. */
  allRuns = 0
  private allMs = 0
  private runsBefore = 0
  private msBefore = 0

  /** @param ms How long a run took. */
  add(ms: number): void {
    this.allRuns++
    this.allMs += ms
  }

  /** What came before does not count from here on. */
  reset(): void {
    this.runsBefore = this.allRuns
    this.msBefore = this.allMs
  }

  /** Since the last reset. */
  get runs(): number {
    return this.allRuns - this.runsBefore
  }

  get microseconds(): number {
    return 1000 * (this.allMs - this.msBefore)
  }

  /**
   * Nodes recorded over all runs, as they would have been recorded since the last reset: scaled as the time
   * of whole runs is, and never more than that time. A recording that was full before the end (ONNX Runtime
   * keeps a million events) stands for the runs that it missed. What no node accounts for comes last.
   */
  scale(nodes: readonly NodeTime[]): NodeTime[] {
    const { runs, microseconds } = this
    if (runs === 0 || microseconds === 0) return []
    const slower = microseconds / runs / ((1000 * this.allMs) / this.allRuns)
    const scaled = nodes.map((node) => {
      const times = runs / node.runs
      return {
        ...node,
        runs,
        microseconds: node.microseconds * times * slower,
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
