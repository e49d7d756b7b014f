/** A running training and curves on the dashboard, compared with the files of the runs. */
import { describe, expect, test } from 'vitest'
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
} from './dashboard-page.ts'
import { siteWithTraining } from './dashboard-training.ts'
import { trainRecords } from './support.ts'

describe.skipIf(chromium === undefined)(named('the dashboard'), { timeout: 60_000 }, () => {
  const { site, live } = siteWithTraining()

  test('a training with --watch is followed without a reload', async () => {
    await visit(site.browser, live().address, async (page) => {
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
