/** The kinds of a step's time, and the part of communication that computation hides. */
export const timeKinds = [
  'attention',
  'router',
  'dispatch',
  'experts',
  'dense',
  'embedding',
  'head',
  'recomputation',
  'launches',
  'all-to-all',
  'tensor all-reduce',
  'context exchange',
  'gradient exchange',
  'weight gathering',
  'optimizer',
  'offload',
  'pipeline bubble',
] as const
export type TimeKind = (typeof timeKinds)[number]
export type SecondsByKind = Readonly<Record<TimeKind, number>>

/** Exposed seconds, to be added up. */
export type Seconds = Record<TimeKind, number>

export const zeroes = (): Seconds => Object.fromEntries(timeKinds.map((kind) => [kind, 0])) as Seconds

export interface Overlap {
  readonly exposed: number
  readonly hidden: number
}

/** Hides up to `available` of the seconds. */
export const hide = (seconds: number, available: number): Overlap => {
  const hidden = Math.min(seconds, available)
  return { exposed: seconds - hidden, hidden }
}
