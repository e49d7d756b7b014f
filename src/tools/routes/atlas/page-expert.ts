/** The part of the atlas's page about one expert: its load, tokens, domains and partners. */
import { fixed, grouped, percent } from '../../../core/text/numbers.ts'
import { type Child, element, type Markup } from '../../report/markup.ts'
import type { Interval } from '../../study/statistics.ts'
import type { ExpertAblation } from '../ablation.ts'
import type { Atlas, ExpertAtlas, Lift, RouterAtlas } from './contract.ts'

export const routerName = ({ layer, module }: Pick<RouterAtlas, 'layer' | 'module'>): string =>
  module === 'ffn' ? `layer ${layer}` : `layer ${layer}, ${module}`

/** The address of an expert in the page. */
export const idOf = ({ layer, module }: Pick<RouterAtlas, 'layer' | 'module'>, expert: number): string =>
  `layer-${layer}-${module}-expert-${expert}`

export function expertPanel({ domains }: Atlas, router: RouterAtlas, expert: ExpertAtlas): Markup {
  const name = `Expert ${expert.expert} of ${routerName(router)}`
  return element(
    'section',
    { class: 'panel', id: idOf(router, expert.expert), 'aria-label': name },
    element('a', { class: 'back', href: '#map' }, 'Back to the map'),
    element('h2', {}, name),
    element('p', {}, summaryOf(router, expert)),
    expert.tokens === 0
      ? undefined
      : [
          element(
            'p',
            { class: 'about' },
            'Share: of the tokens of the row, those that chose the expert. Lift: this share over that of all tokens; 1 is ' +
              'no preference.',
          ),
          tokensOf(expert),
          domains.length > 1 ? domainsOf(expert) : undefined,
          partnersOf(router, expert),
        ],
  )
}

function summaryOf({ entropy }: RouterAtlas, expert: ExpertAtlas): string {
  if (expert.tokens === 0) return 'Dead: no token of the record chose it.'
  const { token_share, drop_rate, gate_mean } = expert
  return [
    `${percent(expert.share)} of the tokens chose it${range(expert.interval, (value) => percent(value))}, ` +
      `${fixed(expert.load, 2)} times the mean.`,
    gate_mean === null || entropy === null ? '' : `Its mean gate is ${fixed(gate_mean, 2)}.`,
    token_share === null ? '' : `The token alone decides ${percent(token_share, 0)} of whether it is chosen.`,
    expert.ablation === undefined ? '' : ablationText(expert.ablation),
    drop_rate > 0 ? `It refused ${percent(drop_rate)} of them because it was full.` : '',
  ]
    .filter((text) => text !== '')
    .join(' ')
}

/** The rise of the loss without an expert. */
function ablationText({ rise, interval }: ExpertAblation): string {
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${fixed(Math.abs(value), 4)}`
  return `Without it the loss changes by ${signed(rise)} nats a token${range(interval, signed)}.`
}

function tokensOf({ top }: ExpertAtlas): Child {
  const rows = top.map((token): Child[] => [
    shownToken(token.text),
    grouped(token.tokens),
    percent(token.share, 0),
    ...liftCells(token),
  ])
  return listing('Typical tokens', ['token', 'tokens', 'share', 'lift', '95 %'], rows, 'No token is typical of it.')
}

function domainsOf({ domains }: ExpertAtlas): Child {
  const sorted = [...domains].sort((a, b) => b.lift - a.lift)
  const rows = sorted.map((domain): Child[] => [
    domain.name,
    grouped(domain.tokens),
    percent(domain.share),
    ...liftCells(domain),
  ])
  return listing('Domains', ['domain', 'tokens', 'share', 'lift', '95 %'], rows, '')
}

function partnersOf(router: RouterAtlas, { partners }: ExpertAtlas): Child {
  if (router.choices === 1) return undefined
  const rows = partners.map((partner): Child[] => [
    element('a', { href: `#${idOf(router, partner.expert)}` }, `expert ${partner.expert}`),
    grouped(partner.tokens),
    ...liftCells(partner),
  ])
  const none = 'It is chosen with no other expert more often than by chance.'
  return listing('Partners: chosen for the same tokens', ['expert', 'tokens', 'lift', '95 %'], rows, none)
}

function listing(title: string, titles: readonly string[], rows: readonly (readonly Child[])[], none: string): Child {
  const cells = (row: readonly Child[]) =>
    row.map((child, i) => (i === 0 ? element('th', { scope: 'row' }, child) : element('td', { class: 'right' }, child)))
  return [
    element('h3', {}, title),
    rows.length === 0
      ? element('p', { class: 'none' }, none)
      : element(
          'table',
          {},
          element(
            'thead',
            {},
            element(
              'tr',
              {},
              titles.map((text, i) => element('th', { scope: 'col', class: i > 0 ? 'right' : undefined }, text)),
            ),
          ),
          element(
            'tbody',
            {},
            rows.map((row) => element('tr', {}, cells(row))),
          ),
        ),
  ]
}

const liftCells = ({ lift, interval }: Lift): Child[] => [
  element('strong', {}, times(lift)),
  interval === null ? '–' : `${times(interval[0])} to ${times(interval[1])}`,
]

const times = (lift: number): string => fixed(lift, lift < 10 ? 2 : 1)

const range = (interval: Interval | null, format: (value: number) => string): string =>
  interval === null ? '' : ` (${format(interval[0])} to ${format(interval[1])})`

/** A token with its spaces made visible. */
const shownToken = (text: string): Markup =>
  element(
    'span',
    { class: 'token' },
    text.split(/( )/).map((part) => (part === ' ' ? element('span', { class: 'space' }, '␣') : part)),
  )
