/**
 * Which tokens a full expert refuses: the queue of each expert along a text, worked from recorded choices. The text is a
 * batch of its own, and places go to its tokens in their order (`priority: token` of a training).
 */

/** Choices of a text at one router, and how many there are for each token. */
export interface Routes {
  /** Experts, of shape [tokens][choices]. */
  readonly experts: readonly number[]
  readonly choices: number
  /** Number of experts of the layer. */
  readonly of: number
}

export interface Refusals {
  /** Choices that an expert computes at most. */
  readonly capacity: number
  /** Whether each choice is refused, of shape [tokens][choices]. */
  readonly refused: readonly boolean[]
  /** Number of choices of each expert. */
  readonly loads: readonly number[]
  /** Tokens whose choices are all refused: no expert computes them. */
  readonly lost: readonly boolean[]
}

/** Capacities: `kx` has room for all choices of a token, `1x` for one of them. */
export const rules = ['kx', '1x'] as const
export type Rule = (typeof rules)[number]

/** Capacity of an expert: kx ⌈K·T/N·γ⌉, 1x ⌈T/N·γ⌉ (M6-T, section 3.2), as `capacityOf` of src/core computes it. */
export function capacity({ experts, choices, of }: Routes, factor: number, rule: Rule): number {
  const tokens = experts.length / choices
  return Math.max(1, Math.ceil((((rule === 'kx' ? choices : 1) * tokens) / of) * factor - 1e-9))
}

export function refusalsOf(routes: Routes, factor: number, rule: Rule): Refusals {
  const { experts, choices, of } = routes
  const room = capacity(routes, factor, rule)
  const loads = new Array<number>(of).fill(0)
  const refused = experts.map((expert) => {
    const place = loads[expert] ?? 0
    loads[expert] = place + 1
    return place >= room
  })
  const lost = Array.from({ length: experts.length / choices }, (_, token) =>
    refused.slice(token * choices, (token + 1) * choices).every((is) => is),
  )
  return { capacity: room, refused, loads, lost }
}
