/**
 * Heat maps of the dashboard: marks and orders of experts, on known loads.
 *
 * @slow
 */
import { readFileSync } from 'node:fs'
import type { Locator } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { chromium, heatMap, named, pixelsOf, readOut, soon, timeMap } from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

const fault = 'the router of layer 0: expert 1 of 8 takes 97 % of the tokens'

/** Loads of two layers at steps 10 and 20, with a mean of 10. */
const early = [
  [30, 5, 5, 10, 10, 5, 5, 10],
  [10, 10, 10, 10, 10, 10, 10, 10],
]
const late = [
  [0, 25, 10, 5, 10, 10, 11, 9],
  [10, 19, 3, 8, 20, 0, 12, 8],
]

describe.skipIf(chromium === undefined)(named('heat maps of the dashboard'), { timeout: 60_000 }, () => {
  const site = siteOf(async (workspace) => {
    const sets = ['model.moe.experts=8', 'model.moe.router=prototype', 'model.moe.prototypes=2']
    const routing = [early, late].flatMap((loads, snapshot) =>
      loads.map((tokens_per_expert, layer) => ({
        step: 10 * (snapshot + 1),
        layer,
        tokens_per_expert,
        kept_per_expert: tokens_per_expert.map((tokens) => Math.min(tokens, 15)),
      })),
    )
    await makeRun(workspace, 'run', {
      sets,
      train: Array.from({ length: 20 }, (_, i) => (i === 9 ? { router_faults: [fault] } : {})),
      routing,
    })
  })

  test.each(['light', 'dark'] as const)(
    'a cross marks an expert without tokens, and a ring one with twice the mean, before drops and after: %s',
    (colorScheme) =>
      site.on(
        'page=experts',
        async (page) => {
          const map = heatMap(page)
          await map.waitFor()
          const expected = late.map((loads) =>
            loads.map((tokens) => (tokens === 0 ? 'cross' : tokens >= 20 ? 'ring' : 'none')),
          )
          await expect.poll(() => marksOf(map), soon).toEqual(expected)
          await page.getByRole('radio', { name: 'After' }).check()
          await expect.poll(() => marksOf(map), soon).toEqual(expected)
        },
        { colorScheme },
      ),
  )

  test('what the training found wrong with routers is above the map, and its run has a mark', () =>
    site.on('page=experts', async (page) => {
      await heatMap(page).waitFor()
      await page.getByText('A router has gone wrong').waitFor()
      await page.getByRole('listitem').getByText('The router of layer 0: expert 1 of 8 takes 97 %').waitFor()
      await expect.poll(() => page.locator(`td.state [title="${fault}"]`).count(), soon).toBe(1)
    }))

  test('the scale of colours fits the loads until another scale is chosen, and the legend names its ends', () =>
    site.on('page=experts', async (page) => {
      const map = heatMap(page)
      await map.waitFor()
      const legend = page.locator('.legend')
      await legend.getByText('≥ 2×').waitFor()
      await legend.getByText('≤ 0.5×').waitFor()
      const colour = () => colourOf(map, 3)
      const fitted = await colour()
      await page.getByRole('combobox', { name: 'Scale' }).selectOption('to 8×')
      await legend.getByText('≥ 8×').waitFor()
      // Half the mean of a router is at the end of the first scale, and at a third of the second.
      await expect.poll(async () => darkness(await colour()), soon).toBeLessThan(darkness(fitted) / 2)
      await page.reload()
      await legend.getByText('≥ 8×').waitFor()
    }))

  test('the sides of a map say what they are, and its loads and its picture are saved as they are shown', () =>
    site.on('page=experts&at=10', async (page) => {
      await heatMap(page).waitFor()
      await page.locator('.heat-rows', { hasText: 'layer' }).waitFor()
      await page.locator('.heat-columns', { hasText: 'expert 0' }).waitFor()
      const saved = async (name: string, map = 0) => {
        const [download] = await Promise.all([
          page.waitForEvent('download'),
          page.getByRole('button', { name }).nth(map).click(),
        ])
        return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) }
      }
      const table = await saved('Save loads (CSV)')
      expect(table.name).toBe('Loads-of-all-experts-at-step-10.csv')
      const lines = table.bytes.toString().trim().split('\r\n')
      const expected = early.flatMap((loads, layer) =>
        loads.map((tokens, expert) => `${layer},${expert},${tokens / 10}`),
      )
      expect(lines).toEqual(['layer,expert,tokens over mean', ...expected])
      const picture = await saved('Save picture (PNG)')
      expect(picture.bytes.subarray(1, 4).toString()).toBe('PNG')
      // The width of a PNG is in its header; the picture is as wide as the map on the page.
      expect(picture.bytes.readUInt32BE(16)).toBeGreaterThan(400)
      const overTime = await saved('Save loads (CSV)', 1)
      expect(overTime.name).toBe('Loads-of-the-experts-of-layer-0-over-time.csv')
      expect(overTime.bytes.toString().split('\r\n')[0]).toBe('expert,step,tokens over mean')
    }))

  test('all experts at a step and one layer over time are on one page, with one scale and one time', () =>
    site.on('page=experts&at=10', async (page) => {
      await heatMap(page).waitFor()
      await timeMap(page).waitFor()
      await expect.poll(() => page.locator('.legend').count(), soon).toBe(1)
      await page.getByRole('heading', { name: 'Layer 0 over time' }).waitFor()
      await page.getByRole('button', { name: 'Layer 1 over time' }).click()
      await page.getByRole('heading', { name: 'Layer 1 over time' }).waitFor()
      for (const key of ['Home', 'End']) await timeMap(page).press(key)
      await expect
        .poll(() => page.getByRole('slider', { name: 'Snapshot' }).getAttribute('aria-valuetext'), soon)
        .toContain('step 20,')
    }))

  test('the marks are read out, and explained below', () =>
    site.on('page=experts', async (page) => {
      const map = heatMap(page)
      for (const key of ['Home', 'ArrowUp']) await map.press(key)
      for (const words of [
        'layer 0, expert 0: dead, no tokens',
        'layer 0, expert 1: 2.5 times the mean, 40.0 % dropped, overloaded',
        'layer 0, expert 2: 1.0 times the mean, none dropped',
      ]) {
        await expect.poll(async () => (await readOut(map)).text, soon).toBe(words)
        await map.press('ArrowRight')
      }
      await page.getByText('dead: no tokens').waitFor()
      await page.getByText('overloaded: 2× or more before drops').waitFor()
    }))

  test('every layer is sorted by each order on its own, and the order of prototypes separates them', () =>
    site.on('page=experts', async (page) => {
      for (const [order, ...layers] of [
        ['Number', [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]],
        // Among experts with equal loads, the lower number comes first.
        ['Load', [1, 6, 2, 4, 5, 7, 3, 0], [4, 1, 6, 0, 3, 7, 2, 5]],
        ['Prototype', [1, 2, 3, 0, 6, 4, 5, 7], [1, 0, 3, 2, 4, 6, 7, 5]],
      ] as const) {
        await page.getByRole('radio', { name: order }).check()
        const map = heatMap(page)
        for (const [layer, experts] of layers.entries()) {
          for (const key of ['Home', layer === 0 ? 'ArrowUp' : 'ArrowDown']) await map.press(key)
          for (const expert of experts) {
            await expect
              .poll(async () => (await readOut(map)).text, { ...soon, message: order })
              .toMatch(new RegExp(`^layer ${layer}, expert ${expert}:`))
            expect((await readOut(map)).tokens, order).toBe(late[layer]?.[expert])
            await map.press('ArrowRight')
          }
        }
        expect(await isSeparated(map), order).toBe(order === 'Prototype')
      }
    }))

  test('the order over time is the order of the sums over all snapshots', () =>
    site.on('page=experts', async (page) => {
      const map = timeMap(page)
      await map.waitFor()
      for (const [order, experts] of [
        ['Load', [0, 1, 4, 7, 6, 2, 3, 5]],
        ['Prototype', [0, 1, 2, 3, 4, 7, 6, 5]],
        ['Number', [0, 1, 2, 3, 4, 5, 6, 7]],
      ] as const) {
        await page.getByRole('radio', { name: order }).check()
        await map.press('Escape')
        await map.press('End')
        for (const expert of experts) {
          await expect
            .poll(async () => (await readOut(map)).text, soon)
            .toMatch(new RegExp(`^step 20, expert ${expert}:`))
          await map.press('ArrowDown')
        }
      }
    }))
})

/** The drawn marks of all cells; experts must be in the order of their numbers. */
async function marksOf(map: Locator): Promise<string[][]> {
  const box = await boxOf(map.locator('canvas'))
  const [width, height] = [box.width / 8, box.height / 2]
  const cells = late.map((loads, row) =>
    loads.map((_, column) => markAt(map, { x: box.x + column * width, y: box.y + row * height, width, height })),
  )
  return Promise.all(cells.map((row) => Promise.all(row)))
}

async function markAt(map: Locator, { x, y, width, height }: Box): Promise<'cross' | 'ring' | 'none'> {
  const colours = async (left: number, top: number) => {
    const { values } = await pixelsOf(map.locator('canvas'), { x: left - 1, y: top - 1, width: 3, height: 3 })
    return values
  }
  // The number in a cell, 8 pixels high, is between the arms of a cross and inside a ring, so the probes miss it.
  const [[background = []], arm, top] = await Promise.all([
    colours(x + 0.9 * width, y + 0.8 * height),
    colours(x + width / 2 + 6, y + height / 2 + 6),
    colours(x + width / 2, y + height / 2 - 10.5),
  ])
  const differs = (values: number[][]) =>
    values.some((value) => value.some((part, index) => Math.abs(part - (background[index] ?? 0)) > 50))
  return differs(arm) ? 'cross' : differs(top) ? 'ring' : 'none'
}

/** The colour in the corner of a cell of the first layer. */
async function colourOf(map: Locator, column: number): Promise<number[]> {
  const box = await boxOf(map.locator('canvas'))
  const place = { x: box.x + ((column + 0.1) * box.width) / 8, y: box.y + 6, width: 1, height: 1 }
  const { values } = await pixelsOf(map.locator('canvas'), place)
  return values[0]?.slice(0, 3) ?? []
}

/** How much darker than white a colour is; in the light theme, the scale is darkest at its ends. */
const darkness = (colour: readonly number[]) => 3 * 255 - colour.slice(0, 3).reduce((sum, part) => sum + part, 0)

/** Whether there is a gap between the fourth and the fifth expert, wider than the line between any two. */
async function isSeparated(map: Locator): Promise<boolean> {
  const box = await boxOf(map.locator('canvas'))
  const { values } = await pixelsOf(map.locator('canvas'), {
    x: box.x + box.width / 2 - 3,
    y: box.y + 5,
    width: 6,
    height: 1,
  })
  return values.every(([, , , opacity]) => opacity === 0)
}

type Box = NonNullable<Awaited<ReturnType<Locator['boundingBox']>>>

async function boxOf(canvas: Locator): Promise<Box> {
  const box = await canvas.boundingBox()
  if (!box) throw new Error('the heat map is not visible')
  return box
}
