/**
 * Curves on the dashboard and their controls, on runs with known numbers.
 *
 * @slow
 */
import type { Locator, Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import { describeModel } from '../../src/core/model/describe.ts'
import { writeArm } from '../../src/node/run/study-arm.ts'
import {
  card,
  chromium,
  downloaded,
  go,
  inkAt,
  named,
  rowOf,
  showOnly,
  soon,
  tableOf,
  textOf,
} from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { siteOf } from './dashboard-site.ts'

const steps = 11
/** A linear loss over all steps. */
const falling = (from: number, to: number) =>
  Array.from({ length: steps }, (_, index) => ({
    loss: from + (index / (steps - 1)) * (to - from),
    step_ms: 1000 * (index + 1),
  }))

describe.skipIf(chromium === undefined)(named('curves on the dashboard'), { timeout: 60_000 }, () => {
  let config: RunConfig

  const site = siteOf(async (workspace) => {
    config = await makeRun(workspace, 'k1-seed1', { sets: ['train.seed=1'], train: falling(8, 4) })
    await makeRun(workspace, 'k1-seed2', { sets: ['train.seed=2'], train: falling(10, 6) })
    await makeRun(workspace, 'k2', { sets: ['model.moe.k=2'], train: falling(3, 2) })
    const decades = [1000, 100, 10, 1, 0, -5].map((loss) => ({ loss }))
    await makeRun(workspace, 'decades', { train: decades })
    // A loss of 90, then 40 steps from 3 to 2.
    const burst = Array.from({ length: 41 }, (_, step) => ({ loss: step === 0 ? 90 : 3 - step / 40 }))
    await makeRun(workspace, 'burst', { train: burst })
    for (const seed of [1, 10]) {
      const seeds = [`train.seed=${seed}`, `data.order=${seed}`, `model.moe.hashSeed=${seed}`]
      const folder = `arms/runs/hash-fixed-seed-${seed}-2ba4cd1${seed % 10}`
      await makeRun(workspace, folder, {
        sets: ['model.moe.router=hash', ...seeds],
        train: falling(8 + seed, 4.5 + seed / 11),
      })
      writeArm(workspace.file('runs', folder), 'hash (fixed)')
    }
  })

  /** Opens the page without smoothing, so that it shows the written values. */
  const on = (query: string, look: (page: Page) => Promise<void>) => site.on(`smoothing=0&${query}`, look)

  test('runs that differ only in seeds are one line, their mean, in a band from minimum to maximum', () =>
    on('filter=k', async (page) => {
      await labelContains(page, 'Training loss over step, 3 lines.')
      await page.getByRole('checkbox', { name: 'Bands over seeds' }).check()
      await labelContains(page, 'Training loss over step, 2 lines.')
      await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
      const rows = card(page, 'train/loss').getByRole('row')
      expect((await rows.allInnerTexts()).slice(1).map((row) => row.trim().split(/\t\s*/))).toEqual([
        ['k1 · 2 seeds', '5', '11', '5', '9'],
        ['k2', '2', '11', '2', '3'],
      ])

      await card(page, 'train/loss').getByRole('button', { name: 'Show as table' }).click()
      await page.getByRole('checkbox', { name: 'Show k2', exact: true }).uncheck()
      await labelContains(page, 'Training loss over step, 1 line.')
      // The axis goes from 4 to 10, with margins of 6 %.
      const height = (value: number) => (value - 4 + 0.06 * 6) / (1.12 * 6)
      const plot = plotOf(page, 'train/loss')
      for (const share of [0.25, 0.5, 0.75]) {
        const step = 1 + share * (steps - 1)
        const mean = 9 - (4 * (step - 1)) / (steps - 1)
        await expect.poll(async () => (await inkAt(plot, share)).high, soon).toBeCloseTo(height(mean + 1), 1)
        expect((await inkAt(plot, share)).low).toBeCloseTo(height(mean - 1), 1)
      }
      await point(page, plot, 0.5)
      await expect.poll(() => textOf(page.locator('.tip')), soon).toMatch(/k1 · 2 seeds76 to 8 \(2\)/)
    }))

  test('the filter applies to the table, the curves and the differences', () =>
    on('', async (page) => {
      await labelContains(page, 'Training loss over step, 7 lines.')
      await page.getByLabel('Filter the runs').fill('k1')
      await labelContains(page, 'Training loss over step, 2 lines.')
      expect(await page.getByRole('checkbox', { name: /^Show / }).count()).toBe(2)
      await page.getByRole('button', { name: 'Differences' }).click()
      const rows = page.getByRole('dialog', { name: 'What differs between 2 runs' }).getByRole('row')
      expect((await rows.allInnerTexts()).slice(1)).toEqual(['train.seed seed\t1\t2'])
      // A table that is wider than the window scrolls by keys.
      await page.getByRole('region', { name: 'Table of differences' }).focus()
      await page.locator('.scrolls:focus').waitFor()
      await page.keyboard.press('Escape')
      // A run that the filter hides is not selected by a press on another.
      await page.getByRole('checkbox', { name: 'Show k1-seed2', exact: true }).uncheck()
      await labelContains(page, 'Training loss over step, 1 line.')
      await page.getByLabel('Filter the runs').fill('')
      await labelContains(page, 'Training loss over step, 6 lines.')
    }))

  test('runs of a study have the names of arms and seeds, and a band over the seeds of each arm', () =>
    on('filter=arm%3D%22hash+(fixed)%22', async (page) => {
      await labelContains(page, 'Training loss over step, 2 lines.')
      for (const run of ['arms/hash (fixed), seed 1', 'arms/hash (fixed), seed 10']) await rowOf(page, run).waitFor()
      await page.getByRole('checkbox', { name: 'Bands over seeds' }).check()
      await labelContains(page, 'Training loss over step, 1 line.')
      await labelContains(page, 'arms/hash (fixed) · 2 seeds 5')
    }))

  test('outliers are beyond the axis, with a note on them, until a press on the note shows them', () =>
    on('', async (page) => {
      await rowOf(page, 'burst').waitFor()
      await showOnly(page, 'burst')
      const plot = plotOf(page, 'train/loss')
      const note = card(page, 'train/loss').getByRole('button', { name: /up to 90/ })
      await note.waitFor()
      // The axis goes from 2 to 3, and not to 90, with margins of 6 %.
      await expect.poll(async () => (await inkAt(plot, 1)).high, soon).toBeLessThan(0.15)
      await expect.poll(async () => (await inkAt(plot, 0.2)).high, soon).toBeGreaterThan(0.4)
      await note.click()
      await note.waitFor({ state: 'detached' })
      await expect.poll(async () => (await inkAt(plot, 0.2)).high, soon).toBeLessThan(0.15)
      expect(await page.getByRole('checkbox', { name: 'Ignore outliers' }).isChecked()).toBe(false)
      await page.getByRole('checkbox', { name: 'Ignore outliers' }).check()
      await note.waitFor()
    }))

  test('the cursor is at the same step in all cards, and disappears from all', () =>
    on('', async (page) => {
      const cards = ['train/loss', 'train/drop_rate', 'train/load_cv']
      for (const metric of cards) await plotOf(page, metric).waitFor()
      for (const share of [0.3, 0.7]) {
        await point(page, plotOf(page, 'train/loss'), share)
        for (const metric of cards) await expect.poll(() => cursorOf(plotOf(page, metric)), soon).toBeCloseTo(share, 2)
      }
      await page.mouse.move(5, 5)
      for (const metric of cards) await expect.poll(() => cursorOf(plotOf(page, metric)), soon).toBeLessThan(0)
    }))

  test('a drag in one card zooms all cards, and a double-click in any resets them', () =>
    on('', async (page) => {
      await rowOf(page, 'k2').waitFor()
      await showOnly(page, 'k2')
      await card(page, 'train/drop_rate').getByRole('button', { name: 'Show as table' }).click()
      const last = async () => Number((await tableOf(page, 'train/drop_rate'))[2])
      await expect.poll(last, soon).toBe(steps)
      const plot = plotOf(page, 'train/loss')
      const [from, to] = [await positionIn(plot, 0.25), await positionIn(plot, 0.55)]
      await page.mouse.move(from.x, from.y)
      await page.mouse.down()
      await page.mouse.move(to.x, to.y, { steps: 4 })
      await page.mouse.up()
      // The zoom ends at 6.5; the next point leads the line to the edge.
      await expect.poll(last, soon).toBe(7)
      await page.getByRole('button', { name: /^Step 3\.\d+ to 6\.\d+/ }).waitFor()
      await plotOf(page, 'train/load_cv').dblclick()
      await expect.poll(last, soon).toBe(steps)
      expect(new URL(page.url()).searchParams.has('from')).toBe(false)
    }))

  test('over tokens, time and FLOPs every point has the x of its step, and a zoom in steps is reset', () =>
    on('', async (page) => {
      for (const [title, axis, xOf] of [
        ['Tokens', 'tokens', (step: number) => step * tokens(config)],
        // The steps take one second, two, three, ...
        ['Time', 'time', (step: number) => (step * (step + 1)) / 2],
        ['FLOPs', 'flops', (step: number) => step * tokens(config) * describeModel(config.model).flopsPerToken],
      ] as const) {
        await go(page, { smoothing: '0', from: '3', to: '9' })
        await page.getByRole('button', { name: /^Step 3 to 9/ }).waitFor()
        await rowOf(page, 'k1-seed1').waitFor()
        await showOnly(page, 'k1-seed1')
        await page.getByRole('radio', { name: title }).check()
        await labelContains(page, `Training loss over ${title.toLowerCase()}, 1 line.`)
        const csv = (await downloaded(page, 'train/loss', 'Points (CSV)')).toString().trim().split('\r\n')
        expect(csv[0]).toBe(`run,${axis},train/loss,train/loss (not smoothed)`)
        const xs = csv.slice(1).map((row) => Number(row.split(',')[1]))
        expect(xs, title).toEqual(Array.from({ length: steps }, (_, index) => xOf(index + 1)))
        const query = new URL(page.url()).searchParams
        expect([query.get('x'), query.has('from'), query.has('to')]).toEqual([axis, false, false])
      }
    }))

  test('the page itself paints the curves if the worker that paints them cannot start', () =>
    site.on(
      'smoothing=0',
      async (page) => {
        await page.route(/paint-worker/, (route) => route.abort())
        await page.reload()
        await rowOf(page, 'k2').waitFor()
        await showOnly(page, 'k2')
        const plot = plotOf(page, 'train/loss')
        await expect.poll(async () => (await inkAt(plot, 0.5)).high, soon).toBeCloseTo(0.5, 1)
        // Later changes are painted too.
        await page.getByRole('checkbox', { name: 'Log y' }).check()
        await expect.poll(async () => (await inkAt(plot, 0.02)).high, soon).toBeCloseTo(0.94, 1)
      },
      { allowedErrors: /ERR_FAILED/ },
    ))

  test('on a logarithmic axis powers of ten are evenly spaced, and values that are not positive are left out', () =>
    on('outliers=1', async (page) => {
      await rowOf(page, 'decades').waitFor()
      await showOnly(page, 'decades')
      const plot = plotOf(page, 'train/loss')
      // The loss at step 3 of 6 is 10, in a range from -5 to 1000.
      await expect.poll(async () => (await inkAt(plot, 0.4)).high, soon).toBeCloseTo(0.066, 1)
      await page.getByRole('checkbox', { name: 'Log y' }).check()
      const height = (exponent: number) => (exponent + 0.06 * 3) / (1.12 * 3)
      for (const [share, exponent] of [
        [0.01, 2.95],
        [0.2, 2],
        [0.3, 1.5],
        [0.4, 1],
      ] as const)
        await expect.poll(async () => (await inkAt(plot, share)).high, soon).toBeCloseTo(height(exponent), 1)
      expect((await inkAt(plot, 0.8)).high).toBe(Number.NEGATIVE_INFINITY)
    }))
})

const tokens = ({ train, model }: RunConfig) => train.batch * model.sequence

const plotOf = (page: Page, metric: string): Locator => card(page, metric).getByRole('img')

/** Waits until the label of the plot contains this text. */
const labelContains = (page: Page, label: string) =>
  expect.poll(() => plotOf(page, 'train/loss').getAttribute('aria-label'), soon).toContain(label)

/** Position in the window, at a share of the width of a plot. */
async function positionIn(plot: Locator, share: number): Promise<{ x: number; y: number }> {
  const box = await plot.locator('.u-over').boundingBox()
  if (!box) throw new Error('the plot is not visible')
  return { x: box.x + share * box.width, y: box.y + box.height / 2 }
}

async function point(page: Page, plot: Locator, share: number): Promise<void> {
  const { x, y } = await positionIn(plot, share)
  await page.mouse.move(x, y)
}

/** Position of a plot's cursor as a share of its width; negative without a cursor. */
async function cursorOf(plot: Locator): Promise<number> {
  const [line, box] = await Promise.all(['.u-cursor-x', '.u-over'].map((each) => plot.locator(each).boundingBox()))
  return line && box ? (line.x - box.x) / box.width : -1
}
