/** The experts of a text as CSV: a line for each token, choice and layer, as the page has them. */
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { csvText } from '../curves/series/csv.ts'
import { choiceName, expertOf } from './choices.ts'

/** @param names Names of the routers, as on the page */
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
