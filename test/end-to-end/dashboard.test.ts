/** A running training and curves on the dashboard, compared with the files of the runs. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import {
  card,
  chromium,
  coloursOf,
  downloaded,
  named,
  rowOf,
  showOnly,
  soon,
  stepOf,
  tableOf,
  textOf,
  visit,
  type Watching,
  watching,
} from './dashboard-page.ts'
import { siteOf } from './dashboard-site.ts'
import { expectSuccess, trainRecords } from './support.ts'

const moe = { experts: 8, router: 'prototype', prototypes: 2 } as const
const train = { steps: 30, evalEvery: 10, checkpointEvery: 10, routingEvery: 5 }
const one: RunInput = { model: { moe: { ...moe, k: 1 } }, train: { ...train, seed: 1 } }
const two: RunInput = { model: { moe: { ...moe, k: 2 } }, train: { ...train, seed: 2 } }
/** A training that runs until it is stopped, and writes no checkpoint before. */
const endless: RunInput = { ...one, train: { steps: 200_000, batch: 16, checkpointEvery: 200_000, routingEvery: 10 } }

describe.skipIf(chromium === undefined)(named('the dashboard'), { timeout: 60_000 }, () => {
  let live: Watching

  const site = siteOf(async (workspace) => {
    const runs = [
      ['one', one],
      ['two', two],
    ] as const
    for (const [name, config] of runs)
      await expectSuccess(workspace.start('train', workspace.config(config), '--out', `runs/${name}`))
  })

  // This training starts last, because it keeps a core busy.
  beforeAll(async () => {
    const { workspace } = site
    live = await watching(workspace, 'train', workspace.config(endless), '--out', 'runs/live', '--watch')
  })

  afterAll(async () => {
    live?.running.kill('SIGINT')
    await live?.running.ended
  })

  test('a training with --watch is followed without a reload', async () => {
    await visit(site.browser, live.address, async (page) => {
      await expect.poll(() => textOf(rowOf(page, 'live')), soon).toContain('Running')
      const first = await stepOf(page, 'live')
      await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
      await expect
        .poll(async () => Number((await tableOf(page, 'train/loss'))[2]?.replaceAll(',', '')), soon)
        .toBeGreaterThan(0)
      const drawn = Number((await tableOf(page, 'train/loss'))[2]?.replaceAll(',', ''))
      await expect.poll(() => stepOf(page, 'live'), soon).toBeGreaterThan(first + 50)
      await expect
        .poll(async () => Number((await tableOf(page, 'train/loss'))[2]?.replaceAll(',', '')), soon)
        .toBeGreaterThan(drawn + 25)
      await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
      await expect.poll(() => coloursOf(card(page, 'train/loss').locator('canvas')), soon).toBeGreaterThan(3)
    })
  })

  test('the filter finds runs by a field, and two runs differ exactly in the fields that were set differently', () =>
    site.on('', async (page) => {
      await rowOf(page, 'two').waitFor()
      await page.getByLabel('Filter the runs').fill('model.moe.k=2')
      await expect.poll(() => page.getByRole('checkbox', { name: /^Show / }).count(), soon).toBe(1)
      await rowOf(page, 'two').waitFor()
      await page.getByLabel('Filter the runs').fill('')
      await rowOf(page, 'one').waitFor()
      await showOnly(page, 'one')
      await page.getByRole('checkbox', { name: 'Show two', exact: true }).check()
      await page.getByRole('button', { name: 'Differences' }).click()
      const rows = page.getByRole('dialog', { name: 'What differs between 2 runs' }).getByRole('row')
      expect((await rows.allInnerTexts()).slice(1)).toEqual(['model.moe.k\t1\t2', 'train.seed seed\t1\t2'])
    }))

  test('the CSV of a curve contains every number of metrics.jsonl', () =>
    site.on('smoothing=0', async (page) => {
      await rowOf(page, 'one').waitFor()
      await showOnly(page, 'one')
      const loss = card(page, 'train/loss')
      await expect.poll(() => loss.getByRole('img').getAttribute('aria-label'), soon).toMatch(/, 1 line\./)
      const csv = await downloaded(page, 'train/loss', 'Points (CSV)')
      const lines = csv.toString().trim().split('\r\n')
      const rows = lines.slice(1).map((line) => line.split(',').slice(0, 3))
      const records = trainRecords(site.workspace.file('runs', 'one'))
      expect(records).toHaveLength(30)
      expect(rows).toEqual(records.map(({ step, loss }) => ['one', String(step), String(loss)]))
    }))
})
