/**
 * The atlas as one page without scripts and requests. A map of the loads has a link for each expert, and the part of the
 * page that a link leads to is shown (`:target` in CSS), so every expert has an address, and the keyboard works.
 */
import { fixed, grouped, percent, plural } from '../../../core/text/numbers.ts'
import type { Grid } from '../../report/blocks.ts'
import { type Child, element, type Markup } from '../../report/markup.ts'
import { htmlPage } from '../../report/page/html-page.ts'
import { scrollFrame, tableElement } from '../../report/page/html-table.ts'
import { type LoadRow, loadMapStyle, loadMaps } from '../../report/page/load-map.ts'
import type { Interval } from '../../study/statistics.ts'
import type { ExpertAblation } from '../ablation.ts'
import type { Atlas, ExpertAtlas, Lift, RouterAtlas } from './contract.ts'

export function atlasPage(atlas: Atlas): string {
  const { model, text, capacity, loss } = atlas.record
  const title = `Atlas of ${model.directory}`
  const rule = { none: 'dropless', train: 'training capacity', eval: 'evaluation capacity' }[capacity]
  const facts = [
    `Step ${grouped(model.step)}, weights in ${model.weights}, ${rule}.`,
    `${grouped(atlas.tokens)} tokens of ${text.source}, from ${plural(atlas.documents, 'document')}` +
      `${atlas.domains.length > 1 ? ` of ${atlas.domains.length} domains` : ''}; ${fixed(loss, 4)} nats a token.`,
    `Intervals are of ${percent(atlas.confidence, 0)}, over ${plural(atlas.groups, 'group')} of documents: how much a ` +
      'number would differ for other documents of the same domains.',
  ]
  return htmlPage(
    title,
    [loadMapStyle, atlasStyle],
    element(
      'header',
      {},
      element('h1', {}, title),
      element(
        'ul',
        { class: 'facts' },
        facts.map((fact) => element('li', {}, fact)),
      ),
    ),
    element(
      'main',
      { class: 'atlas' },
      element(
        'div',
        { class: 'maps', id: 'map' },
        loadMaps(atlas.routers.map(rowOf), 'Choose one to see what it takes.'),
        routerTable(atlas),
      ),
      element(
        'div',
        { class: 'panels' },
        atlas.routers.map((router) => router.of.map((expert) => expertPanel(atlas, router, expert))),
        element('p', { class: 'panel start' }, 'Choose an expert on the map to see its tokens, domains and partners.'),
      ),
    ),
  )
}

const rowOf = (router: RouterAtlas): LoadRow => ({
  module: router.module,
  layer: router.layer,
  name: routerName(router),
  loads: router.of.map(({ load }) => load),
  linkOf: (expert) => `#${idOf(router, (router.of[expert] as ExpertAtlas).expert)}`,
})

function routerTable({ routers, domains }: Atlas): Child {
  const hasDrops = routers.some(({ drop_rate }) => drop_rate > 0)
  const titles = ['router', 'c_v', 'largest', 'dead', 'entropy', 'token share', ...(hasDrops ? ['dropped'] : [])]
  const share = (value: number | null) => (value === null ? '–' : percent(value, 0))
  const row = (router: RouterAtlas) => [
    routerName(router),
    fixed(router.load_cv, 2),
    fixed(router.max_over_mean, 2),
    router.dead.length === 0 ? '0' : router.dead.join(', '),
    share(router.entropy_share),
    share(router.token_share),
    ...(hasDrops ? [percent(router.drop_rate)] : []),
  ]
  const duplicates = routers.flatMap((router) =>
    router.duplicates.map(
      ({ experts: [a, b], jaccard }) =>
        `${routerName(router)}: experts ${a} and ${b} are duplicates, chosen together for ${percent(jaccard, 0)} of ` +
        'the tokens that choose either.',
    ),
  )
  const table = (name: string, titles: readonly string[], rows: Grid['rows']) => {
    const columns = titles.map((title, i) => ({ title, align: i === 0 ? ('left' as const) : ('right' as const) }))
    return scrollFrame(name, tableElement({ columns, rows }, undefined))
  }
  return element(
    'section',
    { class: 'routers' },
    element('h2', {}, 'Routers'),
    table('Routers', titles, routers.map(row)),
    element(
      'p',
      { class: 'about' },
      'c_v is the standard deviation of the loads over their mean, and 0 is even. Entropy is the share of the largest; ' +
        'near 100 % the router has not decided. The token share is how much of the choices the token alone decides; ' +
        'the rest is decided by its context.',
    ),
    duplicates.map((text) => element('p', {}, text)),
    domains.length > 1
      ? table(
          'Imbalance by domain',
          ['c_v by domain', ...domains.map(({ name }) => name)],
          routers.map((router) => [routerName(router), ...router.domain_load_cv.map((cv) => fixed(cv, 2))]),
        )
      : undefined,
  )
}

const routerName = ({ layer, module }: Pick<RouterAtlas, 'layer' | 'module'>): string =>
  module === 'ffn' ? `layer ${layer}` : `layer ${layer}, ${module}`

/** The address of an expert in the page. */
const idOf = ({ layer, module }: Pick<RouterAtlas, 'layer' | 'module'>, expert: number): string =>
  `layer-${layer}-${module}-expert-${expert}`

/** The part about one expert: its load, tokens, domains and partners. */
function expertPanel({ domains }: Atlas, router: RouterAtlas, expert: ExpertAtlas): Markup {
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

/** The style of the atlas, added to the style of a report. */
const atlasStyle = `
body { max-width: 1360px }
.atlas { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 30rem); gap: 0 40px; align-items: start }
.atlas section { margin-top: 28px }
.panels { position: sticky; top: 0; max-height: 100vh; overflow-y: auto; padding: 8px 4px 24px 0 }
.panel { display: none; scroll-margin-top: 0 }
.panel:target { display: block }
.start { display: block; color: var(--quiet); border: 1px solid var(--line); border-radius: 8px; padding: 16px }
.panel:target ~ .start { display: none }
.panel h2 { margin-top: 12px } .panel h3 { font-size: 15px; margin: 22px 0 6px }
.panel table { width: 100% } .panel .back { display: none; font-size: 14px }
.panel td, .panel tbody th { padding-top: 3px; padding-bottom: 3px }
.panel tbody th { min-width: 0 }
.token { font: 13px/1.3 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; white-space: pre-wrap }
.space { color: var(--quiet) }
.routers table { margin-bottom: 14px }
@media (max-width: 900px) {
  .atlas { display: block }
  .panels { position: static; max-height: none; overflow: visible; margin-top: 28px }
  .panel .back { display: block }
}
@media print { .panel { display: block; break-inside: avoid } .start { display: none } .panels { position: static; max-height: none } }
`
