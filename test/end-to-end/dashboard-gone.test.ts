/**
 * Runs and servers that disappear while the page is open.
 *
 * @slow
 */
import { renameSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Page } from 'playwright-core'
import { describe, test } from 'vitest'
import {
  card,
  chromium,
  heatMap,
  named,
  pickRun,
  readOut,
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

/** The page may ask for a run that is just being deleted, which the browser reports. */
const deleted = { allowedErrors: /404 \(Not Found\)/ }

// Tests are concurrent, because each has its own runs and mostly waits for their removal to be noticed.
describe
  .skipIf(chromium === undefined)
  .concurrent(named('runs and servers that disappear'), { timeout: 60_000 }, () => {
    const site = siteOf(async (workspace) => {
      await make(workspace, 'stays', 1)
      for (const name of ['curves', 'experts', 'curves again', 'experts again']) await make(workspace, name, 1)
      makeTrace(workspace, 'trace')
      makeTrace(workspace, 'trace that stays')
    })

    const remove = (name: string) => rmSync(site.workspace.file('runs', name), { recursive: true })

    test('curves of a deleted run disappear with a message, and return with a new run of the same name', ({ expect }) =>
      site.on(
        'smoothing=0',
        async (page) => {
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
          await untilLive(page)
        },
        deleted,
      ))

    test('experts of a deleted run are replaced by experts of another, and return with a new run', ({ expect }) =>
      site.on(
        'page=experts',
        async (page) => {
          await pickRun(page, 'experts')
          await heatMap(page).press('Home')
          await expect.poll(async () => (await readOut(heatMap(page))).tokens, soon).toBe(1)
          await page.getByRole('button', { name: 'Play (space)' }).click()
          remove('experts')
          const run = page.getByRole('combobox', { name: 'Run', exact: true })
          await expect.poll(() => run.locator('option:checked').textContent(), soon).not.toBe('experts')
          await make(site.workspace, 'experts', 7)
          await expect.poll(() => run.locator('option:checked').textContent(), soon).toBe('experts')
          await heatMap(page).press('Home')
          await expect.poll(async () => (await readOut(heatMap(page))).tokens, soon).toBe(7)
          await untilLive(page)
        },
        deleted,
      ))

    test('tokens of a deleted run are replaced by tokens of another', () =>
      site.on(
        'page=tokens',
        async (page) => {
          await pickRun(page, 'trace')
          await page.getByRole('region', { name: 'Routing of trace', exact: true }).waitFor()
          remove('trace')
          await page.getByRole('region', { name: 'Routing of trace that stays' }).waitFor()
          await untilLive(page)
        },
        deleted,
      ))

    test.for(['curves', 'experts'])('a run that is replaced between two polls is read again: %s', (name, { expect }) =>
      site.on(
        `page=${name}&smoothing=0`,
        async (page) => {
          const run = `${name} again`
          await rowOf(page, run).waitFor()
          if (name === 'curves') {
            await showOnly(page, run)
            await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
          } else {
            await pickRun(page, run)
            await heatMap(page).press('Home')
          }
          const shown = async () => {
            if (name === 'experts') return (await readOut(heatMap(page))).tokens
            // A poll between the two renames, on a busy machine, takes the table away with the run.
            const table = card(page, 'train/loss').getByRole('button', { name: 'Show as table' })
            if ((await table.count()) === 1 && (await table.getAttribute('aria-pressed')) === 'false')
              await table.click()
            return Number((await tableOf(page, 'train/loss'))[1])
          }
          await expect.poll(shown, soon).toBe(1)
          await make(site.workspace, `../new ${run}`, 3)
          const [before, after] = [site.workspace.file('runs', run), site.workspace.file(`new ${run}`)]
          renameSync(before, site.workspace.file(`former ${run}`))
          renameSync(after, before)
          await expect.poll(shown, soon).toBe(3)
          await untilLive(page)
        },
        // Between the two renames there is no run.
        deleted,
      ),
    )

    test('the page reports a dead server, and reconnects to a new one on the same port', async ({ expect }) => {
      const start = (...args: string[]) => watching(site.workspace, 'watch', 'runs', ...args)
      // A port of the system's choice, which no server of another test takes meanwhile.
      let own = await start('--port', '0')
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
            await untilLive(page)
            own.running.kill('SIGKILL')
            await page.getByRole('alert').waitFor()
            await page.getByRole('status').filter({ hasText: 'Not connected' }).waitFor()
            // Values that the page has stay.
            expect(await tableOf(page, 'train/loss')).toEqual(known)
            await own.running.ended

            // The port answers like a proxy without its server.
            await serve502UntilEvents(Number(port))
            await make(site.workspace, 'stays', 6)
            await make(site.workspace, 'new', 1)
            own = await start('--port', port)
            await untilLive(page)
            await rowOf(page, 'new').waitFor()
            await expect.poll(async () => (await tableOf(page, 'train/loss'))[1], soon).toBe('6')
            expect(await page.getByRole('alert').count()).toBe(0)
          },
          {
            allowedErrors: /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|502|ERR_EMPTY/,
          },
        )
      } finally {
        own.running.kill('SIGINT')
        await own.running.ended
      }
    })
  })

/** Answers every request with 502 until the page has requested events. */
async function serve502UntilEvents(port: number): Promise<void> {
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

/** Creates a run of two steps, in which the loss and the load of the first expert are `value`. */
const make = (workspace: Workspace, name: string, value: number) =>
  makeRun(workspace, name, {
    // The last number differs too: a file with the same inode, length and end would count as unchanged.
    train: [{}, {}].map(() => ({ loss: value, dead_experts: value })),
    routing: [1, 2].map((step) => ({ step, layer: 0, tokens_per_expert: [value, 9, 9, 9] })),
  })

/** Waits until the page is up to date. */
const untilLive = (page: Page) => page.getByRole('status').filter({ hasText: 'Live' }).waitFor()
