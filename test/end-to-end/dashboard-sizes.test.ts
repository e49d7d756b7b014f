/**
 * Sizes on the dashboard: widths of columns and the table, heights of curves, and controls that fit their line.
 *
 * @slow
 */
import type { Locator, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { card, chromium, go, heatMap, named, rowOf, soon } from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

describe.skipIf(chromium === undefined)(named('sizes on the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    const train = [{ loss: 3 }, { loss: 2 }]
    const routing = [1, 2].map((step) => ({ step, layer: 0, tokens_per_expert: [8, 9, 10, 13] }))
    await makeRun(workspace, 'a-run-with-a-name-that-is-rather-long', { train, routing })
  })

  test('the name is the widest column, and the losses fit beside it', () =>
    site.on('', async (page) => {
      const widths = await Promise.all(['Run', 'State', 'Loss', 'Held-out'].map((title) => widthOf(head(page, title))))
      expect(widths[0]).toBeGreaterThan(2 * Math.max(...widths.slice(1)))
      expect(widths.reduce((sum, width) => sum + width, 0)).toBeLessThanOrEqual(470)
    }))

  test('columns, the table and curves are resized by mouse and keys, keep the size on reload, and lose it by double-click', () =>
    site.on('', async (page) => {
      await card(page, 'train/loss').getByRole('img').waitFor()
      const parts = [
        ['Width of the runs', 'x', page.getByRole('complementary', { name: 'Runs' })],
        ['Width of the column Run', 'x', head(page, 'Run')],
        ['Width of the column Loss', 'x', head(page, 'Loss')],
        ['Height of the curves', 'y', card(page, 'train/loss')],
      ] as const
      const resized = []
      for (const [label, axis, part] of parts) {
        const message = label
        const size = () => (axis === 'x' ? widthOf(part) : heightOf(part))
        const edge = page.getByRole('separator', { name: label, exact: true }).first()
        const before = await size()

        const box = await boxOf(edge)
        const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]
        await page.mouse.move(x, y)
        await page.mouse.down()
        await page.mouse.move(axis === 'x' ? x + 40 : x, axis === 'y' ? y + 40 : y, { steps: 4 })
        await page.mouse.up()
        await expect.poll(size, { ...soon, message }).toBeCloseTo(before + 40, -0.3)

        await edge.press(axis === 'x' ? 'ArrowLeft' : 'ArrowUp')
        await expect.poll(size, { ...soon, message }).toBeCloseTo(before + 24, -0.3)
        expect(Number(await edge.getAttribute('aria-valuenow')), label).toBeCloseTo(before + 24, -0.3)
        resized.push({ message, size, edge, before })
      }

      await page.reload()
      await card(page, 'train/loss').getByRole('img').waitFor()
      for (const { message, size, before } of resized)
        await expect.poll(size, { ...soon, message }).toBeCloseTo(before + 24, -0.3)
      for (const { message, size, edge, before } of resized) {
        await edge.dblclick()
        await expect.poll(size, { ...soon, message }).toBeCloseTo(before, -0.3)
      }
    }))

  test('the controls are in one line at a width of 1400 pixels', () =>
    site.on('', async (page) => {
      await rowOf(page, 'a-run-with-a-name-that-is-rather-long').waitFor()
      for (const query of [{}, { from: '1', to: '1.5' }, { page: 'experts' }]) {
        await go(page, query)
        const controls =
          'page' in query ? page.locator('.experts-controls') : page.getByRole('form', { name: 'How curves are shown' })
        await controls.waitFor()
        if ('from' in query) await page.locator('.zoomed').waitFor()
        if ('page' in query) await heatMap(page).waitFor()
        const lines = await controls.locator(':scope > *:not(.zoomed)').evaluateAll((elements) =>
          elements.map((element) => {
            const { bottom } = (
              element as unknown as { getBoundingClientRect(): { bottom: number } }
            ).getBoundingClientRect()
            return Math.round(bottom)
          }),
        )
        expect(Math.max(...lines) - Math.min(...lines), JSON.stringify(query)).toBeLessThan(12)
      }
    }))
})

const head = (page: Page, title: string) => page.getByRole('columnheader').filter({ hasText: new RegExp(`^${title}`) })

async function boxOf(element: Locator) {
  const box = await element.boundingBox()
  if (!box) throw new Error('the element is not visible')
  return box
}

const widthOf = async (element: Locator) => (await boxOf(element)).width
const heightOf = async (element: Locator) => (await boxOf(element)).height
