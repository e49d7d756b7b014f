/** Choices of tokens: their experts, counts for the legend, and names. */
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { csvText } from '../curves/download.ts'

export interface ExpertCount {
  readonly expert: number
  readonly tokens: number
  /** The texts that came most often, without the spaces around them, at most three. */
  readonly most: readonly string[]
}

/** The expert of a token's choice; -1 if there is none. */
export const expertOf = ({ expert, choices }: TokenRouter, token: number, choice: number): number =>
  expert[token * choices + choice] ?? -1

/**
 * Experts that were chosen at least once, the most frequent first.
 * @param texts The texts of the tokens; of equally frequent ones, the first in the text is first.
 */
export function countsOf(router: TokenRouter, choice: number, texts: readonly string[]): ExpertCount[] {
  const counts = new Map<number, { tokens: number; byText: Map<string, number> }>()
  for (let token = 0; token * router.choices < router.expert.length; token++) {
    const expert = expertOf(router, token, choice)
    if (expert < 0) continue
    const entry = counts.get(expert) ?? { tokens: 0, byText: new Map<string, number>() }
    entry.tokens++
    const text = (texts[token] ?? '').trim()
    if (text !== '') entry.byText.set(text, (entry.byText.get(text) ?? 0) + 1)
    counts.set(expert, entry)
  }
  return [...counts]
    .map(([expert, { tokens, byText }]) => {
      const most = [...byText].sort(([, a], [, b]) => b - a).slice(0, 3)
      return { expert, tokens, most: most.map(([text]) => text) }
    })
    .sort((a, b) => b.tokens - a.tokens || a.expert - b.expert)
}

/** The gate that fills a bar: 1, or the largest gate of the text where gates can exceed 1 (`moe.routedScale`). */
export const fullGate = ({ gate }: Pick<TokenRouter, 'gate'>): number =>
  (gate ?? []).reduce((largest, each) => Math.max(largest, each), 1)

/** The prototype of a choice, and its rank among the choices there, from 1; null where there is only one. */
function placeOf({ choices, prototypes }: Pick<TokenRouter, 'choices' | 'prototypes'>, choice: number) {
  const each = Math.max(1, Math.floor(choices / prototypes))
  return {
    prototype: prototypes > 1 ? `prototype ${Math.floor(choice / each)}` : null,
    rank: each > 1 ? `choice ${(choice % each) + 1}` : null,
  }
}

/** Name of a choice; null if a token has only one choice, which needs no name. */
export function choiceName(router: Pick<TokenRouter, 'choices' | 'prototypes'>, choice: number): string | null {
  if (router.choices === 1) return null
  const { prototype, rank } = placeOf(router, choice)
  return [prototype, rank].filter((part) => part !== null).join(', ') || `choice ${choice + 1}`
}

/**
 * How many experts took tokens as this choice, of the experts that can: `3 of the 4 experts of prototype 0 took these
 * tokens`. A choice in a prototype is one of its own experts.
 * @param taken Number of experts that took tokens.
 */
export function takersText(
  router: Pick<TokenRouter, 'choices' | 'prototypes' | 'experts'>,
  choice: number,
  taken: number,
): string {
  const { prototype, rank } = placeOf(router, choice)
  const { experts, prototypes } = router
  const all =
    prototype === null ? `${experts} experts` : `the ${Math.floor(experts / prototypes)} experts of ${prototype}`
  return `${taken} of ${all} took these tokens${rank === null ? '' : ` as ${rank}`}`
}

/** Index of the router with this layer and module, or else of the nearest router by layer. */
export function nearestRouter(
  routers: readonly Pick<TokenRouter, 'layer' | 'module'>[],
  layer: number,
  module: string,
): number {
  let best = 0
  let distance = Number.POSITIVE_INFINITY
  routers.forEach((router, index) => {
    const candidate = 2 * Math.abs(router.layer - layer) + (router.module === module ? 0 : 1)
    if (candidate < distance) [best, distance] = [index, candidate]
  })
  return best
}

/**
 * The experts of a text as CSV: a line for each token, choice and layer, as the page has them.
 * @param names Names of the routers, as on the page
 */
export function traceCsv(tokens: readonly string[], routers: readonly TokenRouter[], names: readonly string[]): string {
  const rows: (string | number)[][] = [['token', 'text', 'layer', 'choice', 'expert', 'gate']]
  tokens.forEach((text, token) => {
    routers.forEach((router, at) => {
      for (let choice = 0; choice < router.choices; choice++) {
        const expert = expertOf(router, token, choice)
        const gate = router.gate?.[token * router.choices + choice]
        rows.push([
          token,
          text,
          names[at] ?? '',
          choiceName(router, choice) ?? '',
          expert < 0 ? '' : expert,
          gate === undefined ? '' : Number(gate.toPrecision(6)),
        ])
      }
    })
  })
  return csvText(rows)
}
