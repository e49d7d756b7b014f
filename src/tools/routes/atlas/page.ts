/**
 * The atlas as one page without scripts and requests. A map of the loads has a link for each expert, and the part of the
 * page that a link leads to is shown (`:target` in CSS), so every expert has an address, and the keyboard works.
 */
import { fixed, grouped, percent, plural } from '../../../core/text/numbers.ts'
import { htmlPage } from '../../report/html-page.ts'
import { type LoadRow, loadMapStyle, loadMaps } from '../../report/load-map.ts'
import { type Child, element, type Markup } from '../../report/markup.ts'
import type { Atlas, ExpertAtlas, RouterAtlas } from './contract.ts'
import { expertPanel, idOf, routerName } from './page-expert.ts'
import { atlasStyle } from './page-style.ts'

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
  return element(
    'section',
    { class: 'routers' },
    element('h2', {}, 'Routers'),
    element(
      'div',
      { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Routers' },
      tableOf(titles, routers.map(row)),
    ),
    element(
      'p',
      { class: 'about' },
      'c_v is the standard deviation of the loads over their mean, and 0 is even. Entropy is the share of the largest; ' +
        'near 100 % the router has not decided. The token share is how much of the choices the token alone decides; ' +
        'the rest is decided by its context.',
    ),
    duplicates.map((text) => element('p', {}, text)),
    domains.length > 1
      ? element(
          'div',
          { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Imbalance by domain' },
          tableOf(
            ['c_v by domain', ...domains.map(({ name }) => name)],
            routers.map((router) => [routerName(router), ...router.domain_load_cv.map((cv) => fixed(cv, 2))]),
          ),
        )
      : undefined,
  )
}

function tableOf(titles: readonly string[], rows: readonly (readonly string[])[]): Markup {
  const cells = (row: readonly string[], name: string) =>
    row.map((text, i) =>
      element(i === 0 ? 'th' : name, { class: i > 0 ? 'right' : undefined, scope: i === 0 ? 'row' : undefined }, text),
    )
  return element(
    'table',
    {},
    element(
      'thead',
      {},
      element(
        'tr',
        {},
        titles.map((text, i) => element('th', { class: i > 0 ? 'right' : undefined, scope: 'col' }, text)),
      ),
    ),
    element(
      'tbody',
      {},
      rows.map((row) => element('tr', {}, cells(row, 'td'))),
    ),
  )
}
