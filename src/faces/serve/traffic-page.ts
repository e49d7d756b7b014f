/**
 * The experts that the traffic of a server uses, as a page that a browser loads again every few seconds, and as JSON.
 * The page has no scripts.
 */
import { fixed, grouped, percent } from '../../core/text/numbers.ts'
import { type Child, element } from '../../tools/report/markup.ts'
import { htmlPage } from '../../tools/report/page/html-page.ts'
import { type LoadRow, loadMapStyle, loadMaps } from '../../tools/report/page/load-map.ts'
import type { RouterTraffic, Traffic } from '../../use/infer/generation/expert-traffic.ts'
import type { ServedModel } from './served-model.ts'

/** Seconds after which a browser loads the page again. */
export const REFRESH = 2

/** Number of tokens from which on the last minute is shown, and not all tokens since the start. */
const ENOUGH = 50

/** The response of `/v1/choir/experts`. */
export const trafficJson = (models: readonly ServedModel[]) => ({
  models: models.map(({ id, traffic }) => {
    const { tokens, routers } = traffic.read()
    const list = routers.map(({ layer, module, experts, prototypes, all, recent }) => {
      return { layer, module, experts, prototypes, all: [...all], last_minute: [...recent] }
    })
    return { id, tokens: { all: tokens.all, last_minute: tokens.recent }, routers: list }
  }),
})

export function trafficPage(models: readonly ServedModel[]): string {
  const title = 'Experts that the traffic uses'
  return htmlPage(
    title,
    [loadMapStyle, 'section { margin-top: 28px }'],
    element(
      'header',
      {},
      element('h1', {}, title),
      element(
        'p',
        {},
        `All texts that this server reads and writes are counted. The page renews itself every ${REFRESH} seconds.`,
      ),
    ),
    element(
      'main',
      {},
      models.length === 0 ? element('p', {}, 'The models are being loaded.') : models.map(modelSection),
    ),
  )
}

function modelSection({ id, traffic, choicesPerToken }: ServedModel): Child {
  const { tokens, routers } = traffic.read()
  const isRecent = tokens.recent >= ENOUGH
  const counted = `${grouped(tokens.recent)} tokens in the last minute, ${grouped(tokens.all)} since the server began`
  const state =
    choicesPerToken === 0
      ? 'It has no experts.'
      : tokens.all === 0
        ? 'No text has been read yet.'
        : `${counted}. The map shows ${isRecent ? 'the last minute' : 'all of them'}.`
  return element(
    'section',
    { 'aria-label': id },
    element('h2', {}, id),
    element('p', {}, state),
    routers.length > 0
      ? [loadMaps(routers.map((router) => rowOf(router, isRecent))), summary({ tokens, routers }, isRecent)]
      : undefined,
  )
}

const countsOf = (router: RouterTraffic, isRecent: boolean): Float64Array => (isRecent ? router.recent : router.all)

const nameOf = ({ layer, module }: RouterTraffic): string =>
  `layer ${layer}${module === 'ffn' ? '' : `, attention's ${module}`}`

function rowOf(router: RouterTraffic, isRecent: boolean): LoadRow {
  const counts = countsOf(router, isRecent)
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length
  const { layer, module } = router
  return { layer, module, name: nameOf(router), loads: [...counts].map((count) => count / mean) }
}

/** One sentence for each router that uses its experts least evenly. */
function summary({ routers }: Traffic, isRecent: boolean): Child {
  const uneven = routers
    .map((router) => {
      const counts = [...countsOf(router, isRecent)]
      const all = counts.reduce((sum, count) => sum + count, 0)
      const busiest = counts.indexOf(Math.max(...counts))
      return { router, busiest, share: (counts[busiest] as number) / all, unused: counts.filter((n) => n === 0).length }
    })
    .sort((a, b) => b.share * b.router.experts - a.share * a.router.experts)
    .slice(0, 3)
  return element(
    'ul',
    {},
    uneven.map(({ router, busiest, share, unused }) =>
      element(
        'li',
        {},
        `${nameOf(router)}: expert ${busiest} has ${percent(share)} of the choices, ` +
          `${fixed(share * router.experts, 2)} times the mean; ${grouped(unused)} of ${grouped(router.experts)} are not used.`,
      ),
    ),
  )
}
