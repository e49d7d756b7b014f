/**
 * Compares the loss curves of engines and precisions.
 *
 * Another order of summation changes the last digits, and training amplifies differences. So the same seed on two
 * engines is compared step by step, mainly in the first steps. bf16 rounds differently from the start, so only its
 * final loss is compared: does it differ from float32 by more than another seed does?
 */

export interface Curve {
  readonly name: string
  readonly engine: 'onednn' | 'onnxruntime'
  readonly math: 'float32' | 'bf16'
  readonly seed: number
  readonly provider: string
  /** Training loss of each step, nats a token; null where it was not finite. */
  readonly loss: readonly (number | null)[]
  /** Loss over all held-out text after the last step, nats a token. */
  readonly heldOutLoss: number
  readonly bitsPerByte: number
  /** SHA-256 of the final parameters. */
  readonly parameters: string
}

/** Largest |difference| of the training losses over the first 10 steps, the first 100 and all. */
export interface Difference {
  readonly of: string
  readonly from: string
  readonly first10: number
  readonly first100: number
  readonly all: number
}

export function differenceOf(curve: Curve, from: Curve): Difference {
  const over = (steps: number) =>
    curve.loss
      .slice(0, steps)
      .reduce<number>((max, loss, i) => Math.max(max, Math.abs((loss ?? Number.NaN) - (from.loss[i] ?? Number.NaN))), 0)
  return { of: curve.name, from: from.name, first10: over(10), first100: over(100), all: over(Infinity) }
}

/** Final held-out losses of several seeds. */
export interface Spread {
  readonly mean: number
  /** Sample standard deviation (n − 1). */
  readonly deviation: number
  /** Largest minus smallest. */
  readonly range: number
}

export function spreadOf(losses: readonly number[]): Spread {
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length
  const squares = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0)
  return {
    mean,
    deviation: Math.sqrt(squares / (losses.length - 1)),
    range: Math.max(...losses) - Math.min(...losses),
  }
}

/** Place of a final loss in the spread of the seeds. */
export interface Place {
  readonly of: string
  /** Difference from the run of the same seed. */
  readonly difference: number
  /** Difference from the mean of the seeds, in standard deviations. */
  readonly deviations: number
  /** Whether the difference is at most the range of the seeds. */
  readonly withinSpread: boolean
}

export function placeOf(curve: Curve, sameSeed: Curve, spread: Spread): Place {
  const difference = curve.heldOutLoss - sameSeed.heldOutLoss
  return {
    of: curve.name,
    difference,
    deviations: (curve.heldOutLoss - spread.mean) / spread.deviation,
    withinSpread: Math.abs(difference) <= spread.range,
  }
}

/** Whether two runs with the same settings are bitwise equal. */
export interface Repetition {
  readonly of: string
  readonly losses: boolean
  readonly parameters: boolean
}

export function repetitionOf(curve: Curve, again: Curve): Repetition {
  return {
    of: curve.name,
    losses:
      curve.loss.length === again.loss.length &&
      curve.loss.every((loss, i) => loss === again.loss[i]) &&
      curve.heldOutLoss === again.heldOutLoss,
    parameters: curve.parameters === again.parameters,
  }
}
