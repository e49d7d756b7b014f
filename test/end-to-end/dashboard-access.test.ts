/**
 * The dashboard from another machine: under a network address, with a token.
 *
 * @slow
 */
import { networkInterfaces } from 'node:os'
import { describe, expect, test } from 'vitest'
import { card, chromium, coloursOf, heatMap, named, pickRun, rowOf, soon, textOf, visit } from './dashboard-page.ts'
import { makeRun, makeTrace } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

/** A token with characters that must be encoded in an address. */
const token = 'known to few/+&='
const inAddress = new URLSearchParams({ token })

/** A network address, which browsers trust less than loopback; without a network, localhost. */
const host =
  Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? 'localhost'

describe.skipIf(chromium === undefined)(named('the dashboard from another machine'), { timeout: 60_000 }, () => {
  const site = siteOf(
    async (workspace) => {
      const routing = [{ step: 1, layer: 0, tokens_per_expert: [1, 2, 3, 4] }]
      await makeRun(workspace, 'run', { train: [{ loss: 2 }, { loss: 1 }], routing })
      makeTrace(workspace, 'trace')
    },
    '--host',
    '0.0.0.0',
    '--token',
    token,
  )
  const at = (rest: string) => `http://${host}:${new URL(site.server.address).port}/${rest}`
  const refused = { allowedErrors: /401 \(Unauthorized\)/ }

  test('without the right token the page asks for it and reveals nothing', () =>
    visit(
      site.browser,
      at(''),
      async (page) => {
        for (const rest of [
          '',
          '?token=',
          '?token=known+to+few',
          '?page=experts',
          'api/collection',
          'api/collection?token=wrong-one',
        ]) {
          await page.goto(at(rest))
          const shown = await textOf(page.locator('body'))
          expect(shown, rest).toContain('A token is needed: open the address that choir watch printed.')
          expect(shown, rest).not.toContain('run"')
        }
        expect(await page.context().cookies()).toEqual([])
      },
      refused,
    ))

  test('the printed address includes the token', () =>
    expect(new URL(site.server.address).searchParams.get('token')).toBe(token))

  test('with the token all pages work; it is removed from the address and hidden from scripts', () =>
    visit(site.browser, at(`?${inAddress}&page=experts&order=load`), async (page) => {
      await expect.poll(() => coloursOf(heatMap(page).locator('canvas')), soon).toBeGreaterThan(3)
      expect(page.url()).toBe(at('?page=experts&order=load'))
      expect(await page.evaluate('document.cookie')).toBe('')

      await page.getByRole('link', { name: 'Curves' }).click()
      await expect.poll(() => coloursOf(card(page, 'train/loss').locator('canvas')), soon).toBeGreaterThan(3)
      // The tokens page sends a POST request.
      await page.getByRole('link', { name: 'Tokens' }).click()
      await pickRun(page, 'trace')
      await page.getByRole('application', { name: 'Text as trace routes it' }).waitFor()
      // Events work too.
      await makeRun(site.workspace, 'new', {})
      await rowOf(page, 'new').waitFor()

      const other = await page.context().newPage()
      await other.goto(at(''))
      await rowOf(other, 'run').waitFor()
    }))

  test('the token applies only to the browser that opened the address', async () => {
    await visit(site.browser, at(`?${inAddress}`), (page) => rowOf(page, 'run').waitFor())
    await visit(
      site.browser,
      at(''),
      async (page) => expect(await textOf(page.locator('body'))).toContain('A token is needed'),
      refused,
    )
  })
})
