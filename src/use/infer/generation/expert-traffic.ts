/**
 * Counts how often each expert is chosen by all texts that a server computes: since it began, and in the last minute.
 * Only numbers are kept, no text and no token.
 */
import type { RouterRows } from './collected-routes.ts'

/** Length of the recent time, and of the slices in which it passes, ms. */
const [RECENT, SLICE] = [60_000, 1000]

export interface RouterTraffic extends Pick<RouterRows, 'layer' | 'module' | 'experts' | 'prototypes'> {
  /** Number of choices of each expert [N], since the beginning and in the last minute. */
  readonly all: Float64Array
  readonly recent: Float64Array
}

export interface Traffic {
  /** Number of routed tokens. */
  readonly tokens: { readonly all: number; readonly recent: number }
  /** One for each router of the model; none before the first token. */
  readonly routers: readonly RouterTraffic[]
}

/** What was counted in a slice of time. */
interface Slice {
  readonly began: number
  tokens: number
  /** Choices by router and expert. */
  readonly counts: readonly Float64Array[]
}

export class ExpertTraffic {
  private readonly now: () => number
  private routers: readonly Omit<RouterTraffic, 'recent'>[] = []
  private tokens = 0
  private slices: Slice[] = []

  /** @param now A clock in ms that does not go back. */
  constructor(now: () => number = () => performance.now()) {
    this.now = now
  }

  /** Adds the tokens `from` to `to` - 1 of a pass of `tokens` tokens. */
  add(routers: readonly RouterRows[], tokens: number, from: number, to: number): void {
    if (this.routers.length === 0)
      this.routers = routers.map(({ layer, module, experts, prototypes }) => {
        return { layer, module, experts, prototypes, all: new Float64Array(experts) }
      })
    const slice = this.slice()
    this.tokens += to - from
    slice.tokens += to - from
    for (const [r, { expert_TK }] of routers.entries()) {
      const [all, recent] = [this.routers[r]?.all as Float64Array, slice.counts[r] as Float64Array]
      const choices = expert_TK.length / tokens
      for (let i = from * choices; i < to * choices; i++) {
        const expert = expert_TK[i] as number
        all[expert] = (all[expert] as number) + 1
        recent[expert] = (recent[expert] as number) + 1
      }
    }
  }

  read(): Traffic {
    this.forget()
    const routers = this.routers.map((router, r): RouterTraffic => {
      const recent = new Float64Array(router.experts)
      for (const { counts } of this.slices)
        counts[r]?.forEach((count, expert) => {
          recent[expert] = (recent[expert] as number) + count
        })
      return { ...router, all: router.all.slice(), recent }
    })
    const recent = this.slices.reduce((sum, { tokens }) => sum + tokens, 0)
    return { tokens: { all: this.tokens, recent }, routers }
  }

  /** The slice of now. */
  private slice(): Slice {
    const last = this.slices.at(-1)
    const now = this.now()
    if (last && now - last.began < SLICE) return last
    this.forget()
    const slice = { began: now, tokens: 0, counts: this.routers.map(({ experts }) => new Float64Array(experts)) }
    this.slices.push(slice)
    return slice
  }

  private forget(): void {
    const now = this.now()
    this.slices = this.slices.filter(({ began }) => now - began < RECENT)
  }
}
