/**
 * Finds mix-ups of experts or layers in the second of two records of the same text, such as a wrong conversion makes: the
 * experts of a router have other numbers, or a router has the weights of another layer. The choices are then those of the
 * first record under other names, which the choices of two different models are not.
 */
import type { RecordedRouter, Route } from '../../node/routes/format.ts'

/** Share of choices that must agree under other names; and they must not agree so often under their own. */
const AGREES = 0.9

/** What a router is in the second record. */
export interface MixUp {
  /** The number in the second record of each expert of the first; null for an expert without tokens. */
  readonly experts: readonly (number | null)[] | null
  /** Index of the router of the second record that chooses as this router of the first; null if none does. */
  readonly router: number | null
  /** Share of the choices of the first record that the second has under these names. */
  readonly common: number
}

export class MixUps {
  private readonly routers: readonly RecordedRouter[]
  /** Number of tokens for which expert a is among the choices of the first and b among those of the second [N, N]. */
  private readonly together: readonly Float64Array[]
  /** Number of choices of each expert in the first record. */
  private readonly chosen: readonly Float64Array[]
  /** Number of choices of router i of the first record that router j of the second has too [routers, routers]. */
  private readonly alike: Float64Array

  constructor(routers: readonly RecordedRouter[]) {
    this.routers = routers
    this.together = routers.map(({ experts }) => new Float64Array(experts * experts))
    this.chosen = routers.map(({ experts }) => new Float64Array(experts))
    this.alike = new Float64Array(routers.length ** 2)
  }

  /** Adds the routes of a token in both records. */
  add(first: readonly Route[], second: readonly Route[]): void {
    for (const [i, { experts }] of first.entries()) {
      const [together, chosen] = [this.together[i], this.chosen[i]] as [Float64Array, Float64Array]
      for (const a of experts) {
        chosen[a] = (chosen[a] as number) + 1
        for (const b of second[i]?.experts ?? [])
          together[a * chosen.length + b] = (together[a * chosen.length + b] as number) + 1
      }
      for (const [j, { experts: others }] of second.entries()) {
        const at = i * first.length + j
        for (const a of experts) if (others.includes(a)) this.alike[at] = (this.alike[at] as number) + 1
      }
    }
  }

  /** What a router is in the second record; null if it is the same one, or another one altogether. */
  of(i: number): MixUp | null {
    const all = (this.chosen[i] as Float64Array).reduce((sum, count) => sum + count, 0)
    const rate = (j: number) => (this.alike[i * this.routers.length + j] as number) / all
    if (all === 0 || rate(i) >= AGREES) return null
    const { experts, module } = this.routers[i] as RecordedRouter
    const router = this.routers.findIndex(
      (other, j) => j !== i && other.experts === experts && other.module === module && rate(j) >= AGREES,
    )
    if (router >= 0) return { experts: null, router, common: rate(router) }
    const { names, common } = this.renamed(i, all)
    return common >= AGREES ? { experts: names, router: null, common } : null
  }

  /** The most frequent partner of each expert, each at most once, and the share of choices that have it. */
  private renamed(i: number, all: number): { readonly names: (number | null)[]; readonly common: number } {
    const [together, chosen] = [this.together[i], this.chosen[i]] as [Float64Array, Float64Array]
    const count = chosen.length
    const pairs = [...together.keys()].filter((at) => (together[at] as number) > 0)
    // Partners of rare experts are as sure as those of frequent ones, if they are compared by their share.
    const share = (at: number) => (together[at] as number) / (chosen[Math.floor(at / count)] as number)
    pairs.sort((a, b) => share(b) - share(a) || (together[b] as number) - (together[a] as number))
    const names = Array<number | null>(count).fill(null)
    const taken = new Set<number>()
    let common = 0
    for (const at of pairs) {
      const [a, b] = [Math.floor(at / count), at % count]
      if (names[a] !== null || taken.has(b)) continue
      names[a] = b
      taken.add(b)
      common += together[at] as number
    }
    return { names, common: common / all }
  }
}
