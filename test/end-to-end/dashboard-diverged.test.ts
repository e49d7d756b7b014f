/**
 * A run whose loss diverged until it was not finite, beside healthy runs on the dashboard.
 *
 * @slow
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { card, chromium, inkAt, named, rowOf, textOf } from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

describe.skipIf(chromium === undefined)(named('a diverged run on the dashboard'), { timeout: 60_000 }, () => {
  const record = { step: 6, loss: 'NaN', grad_norm: 'NaN', where: 'first in the gradient of head', tokens: [1, 2] }
  const site = siteOf(async (workspace) => {
    // Straight lines, which stay in the frame.
    const healthy = Array.from({ length: 100 }, (_, step) => ({ loss: 4 - step / 100 }))
    await makeRun(workspace, 'healthy', { train: healthy })
    await makeRun(workspace, 'other', { train: healthy.map(({ loss }) => ({ loss: loss + 0.1 })) })
    const finite = [4, 4.05, 80, 2e5, 6e11].map((loss) => ({ loss }))
    // The rest of the 100 steps was not done.
    await makeRun(workspace, 'diverged', { sets: ['train.maxNonFinite=1'], train: healthy })
    const folder = workspace.file('runs', 'diverged')
    const lines = [...finite, { loss: null, grad_norm: null, skipped: true }].map(
      (fields, i) => `${JSON.stringify({ kind: 'train', step: i + 1, tokens: i + 1, step_ms: 1, ...fields })}\n`,
    )
    writeFileSync(`${folder}/metrics.jsonl`, lines.join(''))
    mkdirSync(`${folder}/non-finite`)
    writeFileSync(`${folder}/non-finite/step-00000006.json`, JSON.stringify(record))
  })

  test('is failed, in red, with the reason of the terminal and a link to its record', () =>
    site.on('', async (page) => {
      const row = rowOf(page, 'diverged')
      // The run counts as running until its files have been quiet for some seconds.
      await expect.poll(() => textOf(row), { timeout: 40_000, interval: 200 }).toContain('Failed')
      const state = row.locator('.state')
      expect(await state.getAttribute('title')).toMatch(
        /^step 6: the loss is NaN, first in the gradient of head; .* 1 such steps? in a row$/,
      )
      const red = await page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--bad')")
      const link = row.getByRole('link', { name: /^Failed ?: step 6: the loss is NaN/ })
      await page.evaluate(
        `document.body.append(Object.assign(document.createElement('i'), { id: 'probe', style: 'color: ${red}' }))`,
      )
      const colours = await page.evaluate(
        "[...document.querySelectorAll('.state.failed a, .state.failed .icon, #probe')].map((each) => getComputedStyle(each).color)",
      )
      expect(new Set(colours as string[]).size).toBe(1)
      const [record_] = await Promise.all([page.context().waitForEvent('page'), link.click()])
      expect(JSON.parse(await textOf(record_.locator('body')))).toEqual(record)
      await page.getByLabel('Filter the runs').fill('state:failed')
      await expect.poll(() => page.getByRole('checkbox', { name: /^Show / }).count()).toBe(1)
    }))

  test('sets no axis for the others, and a mark shows where its line leaves the frame', () =>
    site.on('smoothing=0', async (page) => {
      const plot = card(page, 'train/loss').getByRole('img')
      await card(page, 'train/loss')
        .getByRole('button', { name: /up to 6/ })
        .waitFor()
      // The healthy losses, 3.01 to 4.1, fill most of the frame.
      await expect.poll(async () => (await inkAt(plot, 0.99)).high).toBeLessThan(0.25)
      await expect.poll(async () => (await inkAt(plot, 0.1)).high).toBeGreaterThan(0.6)
      // The line leaves the frame at step 2 of 100. Three pixels later there is only its triangle, at the upper edge.
      const { width = 0 } = (await plot.locator('.u-over').boundingBox()) ?? {}
      await expect.poll(async () => (await inkAt(plot, 0.02 + 3 / width)).high).toBeGreaterThan(0.93)
      expect((await inkAt(plot, 0.02 + 9 / width)).high).toBeLessThan(0.9)
    }))
})
