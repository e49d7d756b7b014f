/** Results of trainings that differ in the precision of AdamW's moments. */
export const states = ['float32', 'bf16', 'int8'] as const

export interface StateRow {
  readonly shape: string
  readonly experts: number
  readonly threads: number
  readonly state: (typeof states)[number]
  readonly date: string
  readonly parameters: number
  readonly tokensPerSecond: number
  readonly stepMs: number
  readonly updateMs: number
  readonly peakBytes: number
}
