/**
 * Cosine annealing with warm restarts (Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5, with T_mult = 2): each
 * period is twice as long as the one before, and begins at the peak again. The last period ends with the training.
 */
import type { OwnSchedule } from 'choir'

const PERIODS = 3

const schedule: Omit<OwnSchedule, 'name'> = {
  rate({ step, steps, learningRate, warmup, final }) {
    if (step <= warmup) return (learningRate * step) / warmup
    // Periods of 1, 2 and 4 parts of the steps after the warm-up.
    const part = (steps - warmup) / (2 ** PERIODS - 1)
    let start = warmup
    let length = part
    while (step - start > length && length < part * 2 ** (PERIODS - 1)) {
      start += length
      length *= 2
    }
    const progress = Math.min(1, (step - start) / length)
    return learningRate * (final + (1 - final) * 0.5 * (1 + Math.cos(Math.PI * progress)))
  },
}

export default schedule
