import { expect, test } from 'vitest'
import type { RoutedToken } from '../../../node/routes/format.ts'
import { madeHeader, madeRouter } from '../../../node/routes/testing/made-record.ts'
import { parseXml } from '../../report/testing/parse-xml.ts'
import { atlasOf } from './atlas.ts'
import { atlasPage } from './page.ts'

const hostile = '<script>"&\u0007'

async function page(): Promise<string> {
  const routers = [
    madeRouter({ choices: 2 }),
    madeRouter({ layer: 1, experts: 3, choices: 2 }),
    madeRouter({ module: 'qkv', choices: 2 }),
  ]
  const tokens = Array.from({ length: 400 }, (_, i): RoutedToken => {
    const experts = [i % 2, 2]
    const route = { experts, gates: [0.5, 0.25], entropy: 1, dropped: i % 5 ? [] : [i % 2] }
    return { document: i % 20, position: i, token: i % 2, text: i % 2 ? hostile : ' a', routes: [route, route, route] }
  })
  const made = { routers, tokens, domainOf: (d: number) => (d % 2 ? 'letters' : '<b>songs') }
  return atlasPage(
    await atlasOf({
      header: madeHeader(made),
      tokens: async function* () {
        yield* tokens
      },
    }),
  )
}

test('every expert has a cell on the map that leads to its part of the page', async () => {
  const html = await page()
  const targets = [...html.matchAll(/<section class="panel" id="([^"]+)"/g)].map(([, id]) => id)
  const cells = html.slice(html.indexOf('class="cells"'), html.indexOf('class="panels"'))
  const links = [...cells.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id)
  expect(targets).toHaveLength(4 + 3 + 4)
  expect(new Set(links)).toEqual(new Set(targets))
  for (const [, id] of html.matchAll(/href="#([^"]+)"/g)) expect(html).toContain(`id="${id}"`)
})

test('the page is well-formed, asks for nothing, and texts of users stay texts', async () => {
  const html = await page()
  expect(() => parseXml(html.replace('<!DOCTYPE html>', ''))).not.toThrow()
  expect(html).toContain('&lt;script')
  expect(html).not.toMatch(/<script|<b>songs|src=|http:|https:/)
  expect(html).toContain('http-equiv="Content-Security-Policy" content="default-src ')
})

test('a dead expert is marked on the map, and its part says so', async () => {
  const html = await page()
  expect(html).toMatch(/class="dead" href="#layer-0-ffn-expert-3"/)
  expect(html).toContain('Dead: no token of the record chose it.')
})
