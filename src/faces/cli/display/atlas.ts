/**
 * Records of routes on the terminal: the atlas, with a line for each router and what stands out among its experts, and the
 * comparison of two records.
 */

import { titledTable } from '../../../core/text/columns.ts'
import { fixed, grouped, percent, plural } from '../../../core/text/numbers.ts'
import type { Atlas, ExpertAtlas, RouterAtlas } from '../../../tools/routes/atlas/contract.ts'
import type { RoutesComparison } from '../../../tools/routes/compare.ts'
import { collapseOf } from '../../../train/loop/router-health.ts'
import type { Colors } from '../io.ts'

/** Number of experts that are shown with their tokens. */
const SHOWN = 8

const titles = ['router', 'experts', 'c_v', 'largest', 'dead', 'entropy', 'token share', 'dropped'] as const

/** @param columns Columns of the terminal. */
export function atlasText(atlas: Atlas, colors: Colors, columns: number): string {
  const rows = atlas.routers.map((router) => [
    nameOf(router),
    grouped(router.experts),
    fixed(router.load_cv, 2),
    fixed(router.max_over_mean, 2),
    grouped(router.dead.length),
    percent(router.entropy_share, 0),
    percent(router.token_share, 0),
    percent(router.drop_rate),
  ])
  const notes = [
    'largest: the largest load over the mean; dead: experts that no token chose; entropy: of the largest, near 100 %',
    'the router has not decided; token share: how much of the choices the token alone decides, and not its context.',
  ]
  const found = [
    ...atlas.routers.flatMap((router) => findings(router, atlas)),
    ...specialists(atlas),
    ...ablated(atlas),
  ]
  return [
    '',
    ...titledTable(titles, rows, 'lrrrrrrr', colors, columns),
    ...notes.map((note) => `  ${colors.dim(note)}`),
    ...(found.length > 0 ? ['', ...found.map((text) => (text === '' ? '' : `  ${text}`))] : []),
    '',
  ].join('\n')
}

const nameOf = ({ layer, module }: Pick<RouterAtlas, 'layer' | 'module'>): string =>
  module === 'ffn' ? `layer ${layer}` : `layer ${layer}, ${module}`

/** Routers that have collapsed or have gates above 1, and dead and duplicate experts. */
function findings(router: RouterAtlas, { record }: Atlas): string[] {
  const { dead, duplicates, experts, prototypes, choices } = router
  const loads = router.of.map(({ tokens }) => tokens)
  const each = experts / prototypes
  const collapsed = Array.from({ length: choices === null ? 0 : prototypes }, (_, prototype) =>
    collapseOf(loads, prototype * each, each, (choices as number) / prototypes),
  ).flatMap((found) => found ?? [])
  const { moe } = record.model.config as { readonly moe?: { readonly routedScale?: number } | null }
  const scale = moe?.routedScale ?? 1
  const [highest] = router.of
    .flatMap(({ expert, gate_mean }) => (gate_mean !== null && gate_mean > 1.01 * scale ? [{ expert, gate_mean }] : []))
    .sort((a, b) => b.gate_mean - a.gate_mean)
  return [
    ...collapsed.map(
      ({ experts: busiest, share }) =>
        `${nameOf(router)} has collapsed: ${percent(share, 0)} of the choices are for ${busiest.length === 1 ? 'expert' : 'experts'} ${busiest.join(', ')}`,
    ),
    ...(highest
      ? [
          `${nameOf(router)}: gates that are not normalised: ${fixed(highest.gate_mean, 2)} on average of expert ` +
            `${highest.expert}, where ${scale} is the most`,
        ]
      : []),
    ...(dead.length > 0 ? [`${nameOf(router)}: ${plural(dead.length, 'dead expert')} (${dead.join(', ')})`] : []),
    ...duplicates.map(
      ({ experts: [a, b], jaccard }) =>
        `${nameOf(router)}: experts ${a} and ${b} are duplicates, together for ${percent(jaccard, 0)} of their tokens`,
    ),
  ]
}

/** The experts whose most typical token has the highest lift, at least in the interval. */
function specialists({ routers }: Atlas): string[] {
  const all = routers.flatMap((router) => router.of.map((expert) => ({ router, expert, low: lowestLift(expert) })))
  const sure = all.filter(({ low }) => low > 1).sort((a, b) => b.low - a.low)
  return sure.slice(0, SHOWN).map(({ router, expert }) => {
    const tokens = expert.top.filter(({ interval }) => (interval?.[0] ?? 0) > 1).slice(0, 6)
    const texts = tokens.map(({ text, lift }) => `"${text}" ×${fixed(lift, 1)}`)
    return `${nameOf(router)}, expert ${expert.expert}: ${texts.join('  ')}`
  })
}

/** The experts without which the loss rises most, and those without which it rises least. */
function ablated({ ablation, routers }: Atlas): string[] {
  if (!ablation) return []
  const all = routers.flatMap((router) =>
    router.of.flatMap(({ expert, ablation }) =>
      ablation ? [{ name: `${nameOf(router)}, expert ${expert}`, ...ablation }] : [],
    ),
  )
  const sorted = all.sort((a, b) => b.rise - a.rise)
  const shown = Math.min(3, Math.ceil(sorted.length / 2))
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${fixed(Math.abs(value), 4)}`
  const text = ({ name, rise, interval }: (typeof all)[number]) =>
    `${name} ${signed(rise)}${interval ? ` (${signed(interval[0])} to ${signed(interval[1])})` : ''}`
  return [
    '',
    `loss without an expert, over ${fixed(ablation.loss, 4)} on ${grouped(ablation.tokens)} tokens, nats a token`,
    `  most: ${sorted.slice(0, shown).map(text).join('; ')}`,
    `  least: ${sorted.slice(-shown).reverse().map(text).join('; ')}`,
  ]
}

const lowestLift = ({ top }: ExpertAtlas): number => Math.max(0, ...top.map(({ interval }) => interval?.[0] ?? 0))

/** @param columns Columns of the terminal. */
/** @param columns Columns of the terminal. */
export function comparisonText(found: RoutesComparison, colors: Colors, columns: number): string {
  const rows = found.routers.map((router) => [
    nameOf(router),
    percent(router.same, 2),
    router.interval === null ? '–' : `${percent(router.interval[0], 2)} to ${percent(router.interval[1], 2)}`,
    percent(router.common, 2),
    router.gate_difference.toPrecision(2),
  ])
  const { tokens, only_first, only_second } = found
  const apart = only_first + only_second
  return [
    '',
    ...titledTable(
      ['router', 'same experts', '95 %', 'same choices', 'gates differ by'],
      rows,
      'lrrrr',
      colors,
      columns,
    ),
    '',
    `  ${colors.bold(percent(found.same, 2))} of the decisions about ${grouped(tokens)} tokens have the same experts` +
      `${apart > 0 ? `; ${plural(apart, 'other token')} ${apart === 1 ? 'is' : 'are'} in one record only` : ''}.`,
    '',
  ].join('\n')
}
