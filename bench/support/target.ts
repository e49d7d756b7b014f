/** A target of a benchmark, and the values measured for it. */

/** A measured value and its routing. */
export interface Figure {
  readonly value: number
  readonly routing: string
}

export interface Target {
  readonly name: string
  readonly shape: string
  /** Whether values must be at least `required`, or at most. */
  readonly bound: 'min' | 'max'
  readonly required: number
  readonly aim: number
  readonly figures: readonly Figure[]
  /** Number of figures that a complete measurement has. */
  readonly expected: number
  /** Verdict without figures, in place of "not measured". */
  readonly unmeasured?: string
  readonly show: (value: number) => string
  /** The command that measures it. */
  readonly command: string
}
