/**
 * The matmul rate that this machine reaches at best, as far as a run knows.
 *
 * A measurement that other programs disturb is too low, never too high. So the largest of several is the best
 * known, and a rate that the run itself reached bounds it from below.
 */

/** Measurements differ by less than this share of the largest while nothing else runs. */
const NOISE = 0.1
/** A measurement goes unnoticed when it takes at most this share of the time since the last. */
const CHEAP_SHARE = 0.01

export interface CeilingReport {
  /** The best rate known, FLOP/s. */
  readonly peakFlops: number
  /** The lowest measurement, FLOP/s. */
  readonly lowestPeakFlops: number
  /**
   * The lowest measurement is more than a tenth below the best rate: something else was running, and the machine may
   * be faster than any of them.
   */
  readonly peakIsLowerBound: boolean
}

export class Ceiling {
  private readonly measureOnce: () => Promise<number>
  private readonly now: () => number
  private best = 0
  private lowest = Number.POSITIVE_INFINITY
  private measuredAt = Number.NEGATIVE_INFINITY
  private cost = 0

  /**
   * @param measureOnce Rate of a large product, FLOP/s.
   * @param now Time in ms.
   */
  constructor(measureOnce: () => Promise<number>, now: () => number = () => performance.now()) {
    this.measureOnce = measureOnce
    this.now = now
  }

  async measure(): Promise<void> {
    const startedAt = this.now()
    const rate = await this.measureOnce()
    this.measuredAt = this.now()
    this.cost = this.measuredAt - startedAt
    this.best = Math.max(this.best, rate)
    this.lowest = Math.min(this.lowest, rate)
  }

  /** Measures again if that goes unnoticed: when the last measurement took at most 1 % of the time since. */
  async measureIfCheap(): Promise<void> {
    if (this.cost <= CHEAP_SHARE * (this.now() - this.measuredAt)) await this.measure()
  }

  /** Notes a rate that was reached, FLOP/s. */
  recordRate(rate: number): void {
    if (Number.isFinite(rate)) this.best = Math.max(this.best, rate)
  }

  /**
   * Model FLOPs utilisation of a rate, 0 to 1. What counts as an operation of the model need not be computed (the
   * masked half of attention), so a rate may lie above the ceiling: it counts as the whole of it.
   */
  utilisation(rate: number): number {
    return Math.min(1, rate / this.best)
  }

  report(): CeilingReport {
    const { best, lowest } = this
    return { peakFlops: best, lowestPeakFlops: lowest, peakIsLowerBound: lowest < (1 - NOISE) * best }
  }
}
