/** What goes away while one looks: the folder of a run, and the server. */
import { renameSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Page } from 'playwright-core'
import { describe, test } from 'vitest'
import {
  card,
  chromium,
  heard,
  heatMap,
  named,
  pickRun,
  rowOf,
  showOnly,
  soon,
  tableOf,
  visit,
  watching,
} from './dashboard-page.ts'
import { makeRun, makeTrace } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'
import type { Workspace } from './support.ts'

// Each has runs of its own, and waits most of its time until it is noticed that they are gone.
describe.skipIf(chromium === undefined).concurrent(named('what goes away while one looks'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    await make(workspace, 'stays', 1)
    for (const name of ['curves', 'experts', 'curves again', 'experts again']) await make(workspace, name, 1)
    makeTrace(workspace, 'trace')
    makeTrace(workspace, 'trace that stays')
  })

  const remove = (name: string) => rmSync(site.workspace.file('runs', name), { recursive: true })

  test('the curves of a run that is deleted go, which is said, and come back with a new one of its name', ({
    expect,
  }) =>
    site.on('smoothing=0', async (page) => {
      await rowOf(page, 'curves').waitFor()
      await showOnly(page, 'curves')
      await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
      await expect.poll(() => tableOf(page, 'train/loss'), soon).toEqual(['curves', '1', '2', '1', '1'])
      remove('curves')
      await page.getByText('The selected runs no longer exist.').waitFor()
      expect(await rowOf(page, 'curves').count()).toBe(0)
      await rowOf(page, 'stays').waitFor()
      await make(site.workspace, 'curves', 7)
      await rowOf(page, 'curves').waitFor()
      const table = card(page, 'train/loss').getByRole('button', { name: 'Show as table' })
      await table.waitFor()
      if ((await table.getAttribute('aria-pressed')) === 'false') await table.click()
      await expect.poll(() => tableOf(page, 'train/loss'), soon).toEqual(['curves', '7', '2', '7', '7'])
      await live(page)
    }))

  test('the experts of a run that is deleted give way to those of another, and come back with a new one', ({
    expect,
  }) =>
    site.on('page=experts', async (page) => {
      await pickRun(page, 'experts')
      await heatMap(page).press('Home')
      await expect.poll(async () => (await heard(page)).tokens, soon).toBe(1)
      await page.getByRole('button', { name: 'Play (space)' }).click()
      remove('experts')
      const run = page.getByRole('combobox', { name: 'Run', exact: true })
      await expect.poll(() => run.locator('option:checked').textContent(), soon).not.toBe('experts')
      await make(site.workspace, 'experts', 7)
      await expect.poll(() => run.locator('option:checked').textContent(), soon).toBe('experts')
      await heatMap(page).press('Home')
      await expect.poll(async () => (await heard(page)).tokens, soon).toBe(7)
      await live(page)
    }))

  test('the tokens of a run that is deleted give way to those of another', () =>
    site.on('page=tokens', async (page) => {
      await pickRun(page, 'trace')
      await page.getByRole('region', { name: 'Routing of trace', exact: true }).waitFor()
      remove('trace')
      await page.getByRole('region', { name: 'Routing of trace that stays' }).waitFor()
      await live(page)
    }))

  test.for(['curves', 'experts'])('a run that is another between two looks is read anew: %s', (name, { expect }) =>
    site.on(`page=${name}&smoothing=0`, async (page) => {
      const run = `${name} again`
      await rowOf(page, run).waitFor()
      if (name === 'curves') {
        await showOnly(page, run)
        await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
      } else {
        await pickRun(page, run)
        await heatMap(page).press('Home')
      }
      const shown = async () =>
        name === 'curves' ? Number((await tableOf(page, 'train/loss'))[1]) : (await heard(page)).tokens
      await expect.poll(shown, soon).toBe(1)
      await make(site.workspace, `../new ${run}`, 3)
      const [before, after] = [site.workspace.file('runs', run), site.workspace.file(`new ${run}`)]
      renameSync(before, site.workspace.file(`former ${run}`))
      renameSync(after, before)
      await expect.poll(shown, soon).toBe(3)
      await live(page)
    }),
  )

  test('a server that dies is told, and one on the same port is found again with what is new', async ({ expect }) => {
    const start = (...args: string[]) => watching(site.workspace, 'watch', 'runs', ...args)
    let own = await start()
    const { port } = new URL(own.address)
    try {
      await visit(
        site.browser,
        `${own.address}?smoothing=0`,
        async (page) => {
          await rowOf(page, 'stays').waitFor()
          await showOnly(page, 'stays')
          await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
          const known = ['stays', '1', '2', '1', '1']
          await expect.poll(() => tableOf(page, 'train/loss'), soon).toEqual(known)
          await live(page)
          own.running.kill('SIGKILL')
          await page.getByRole('alert').waitFor()
          await page.getByRole('status').filter({ hasText: 'Not connected' }).waitFor()
          // What was known stays.
          expect(await tableOf(page, 'train/loss')).toEqual(known)
          await own.running.ended

          // As a proxy does without its server.
          await untilAskedIn502(Number(port))
          await make(site.workspace, 'stays', 6)
          await make(site.workspace, 'new', 1)
          own = await start('--port', port)
          await live(page)
          await rowOf(page, 'new').waitFor()
          await expect.poll(async () => (await tableOf(page, 'train/loss'))[1], soon).toBe('6')
          expect(await page.getByRole('alert').count()).toBe(0)
        },
        { mayComplain: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|502|ERR_EMPTY/ },
      )
    } finally {
      own.running.kill('SIGINT')
      await own.running.ended
    }
  })
})

/** Serves until it is asked for events. */
async function untilAskedIn502(port: number): Promise<void> {
  const server = createServer()
  const asked = new Promise<void>((resolve) => {
    server.on('request', ({ url }, response) => {
      response.writeHead(502).end(() => url === '/api/events' && resolve())
    })
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await asked
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

/** A run whose loss, and the load of whose first expert, is `value` at each of two steps. */
const make = (workspace: Workspace, name: string, value: number) =>
  makeRun(workspace, name, {
    // The last number too: a file of the same inode, length and end is taken for the same.
    train: [{}, {}].map(() => ({ loss: value, dead_experts: value })),
    routing: [1, 2].map((step) => ({ step, layer: 0, tokens_per_expert: [value, 9, 9, 9] })),
  })

/** The page says that it is up to date. */
const live = (page: Page) => page.getByRole('status').filter({ hasText: 'Live' }).waitFor()
