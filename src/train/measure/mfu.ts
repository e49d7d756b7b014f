/**
 * Model FLOPs utilisation (MFU): the rate of a run over the best matmul rate of this machine, as far as the run has
 * measured it.
 *
 * Other programs can only lower a measurement. So the largest one is the best estimate, and a rate that the run itself
 * reached is a lower bound.
 */

/** Measurements on an idle machine differ by less than this share of the largest. */
const NOISE = 0.1
/** A measurement is cheap if it takes at most this share of the time since the last measurement. */
const CHEAP_SHARE = 0.01

export interface CeilingReport {
  /** The best rate known, FLOP/s. */
  readonly peakFlops: number
  /** The lowest measurement, FLOP/s. */
  readonly lowestPeakFlops: number
  /**
   * Whether the lowest measurement is more than a tenth below the best rate. Then other programs were running, and the
   * machine may be faster than all measurements.
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
   * @param measureOnce Measures the rate of a large matrix product, FLOP/s.
   * @param now Current time, ms.
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

  /** Measures again if the last measurement took at most 1 % of the time since. */
  async measureIfCheap(): Promise<void> {
    if (this.cost <= CHEAP_SHARE * (this.now() - this.measuredAt)) await this.measure()
  }

  /** Records a rate that the run reached, FLOP/s. */
  recordRate(rate: number): void {
    if (Number.isFinite(rate)) this.best = Math.max(this.best, rate)
  }

  /**
   * Model FLOPs utilisation of a rate, 0 to 1. The rate may exceed the ceiling, because counted operations need not be
   * computed (the masked half of attention); it is capped at 1.
   */
  utilisation(rate: number): number {
    return Math.min(1, rate / this.best)
  }

  report(): CeilingReport {
    const { best, lowest } = this
    return { peakFlops: best, lowestPeakFlops: lowest, peakIsLowerBound: lowest < (1 - NOISE) * best }
  }
}
