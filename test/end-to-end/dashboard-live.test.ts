/**
 * Trainings that go on, stop and begin while the dashboard is open, and what a reload keeps.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import {
  card,
  chromium,
  downloaded,
  heatMap,
  named,
  pickRun,
  rowOf,
  showOnly,
  soon,
  stepOf,
  tableOf,
  textOf,
} from './dashboard-page.ts'
import { one, siteWithTraining } from './dashboard-training.ts'
import { expectSuccess } from './support.ts'

describe.skipIf(chromium === undefined)(named('the dashboard of a running training'), { timeout: 60_000 }, () => {
  const { site, live } = siteWithTraining()

  test('a zoom applies to all curves, stays while the run goes on and after a reload, and a double-click resets it', () =>
    site.on('smoothing=0', async (page) => {
      await expect.poll(() => textOf(rowOf(page, 'live')), soon).toContain('Running')
      await showOnly(page, 'live')
      // A few points cannot be zoomed into.
      await expect.poll(() => stepOf(page, 'live'), soon).toBeGreaterThan(40)
      const plot = card(page, 'train/loss').getByRole('img')
      await plot.waitFor()
      await card(page, 'train/tokens_per_second').getByRole('button', { name: 'Show as table' }).click()
      const lastX = async () => Number((await tableOf(page, 'train/tokens_per_second'))[2]?.replaceAll(',', ''))
      await card(page, 'train/loss').scrollIntoViewIfNeeded()
      const box = await plot.boundingBox()
      if (!box) throw new Error('the plot is not visible')
      const y = box.y + box.height / 2
      await page.mouse.move(box.x + 0.3 * box.width, y)
      await page.mouse.down()
      await page.mouse.move(box.x + 0.5 * box.width, y, { steps: 5 })
      await page.mouse.up()

      const range = () => {
        const query = new URL(page.url()).searchParams
        return { from: Number(query.get('from') ?? Number.NaN), to: Number(query.get('to') ?? Number.NaN) }
      }
      await expect.poll(() => range().to, soon).toBeGreaterThan(0)
      const zoomed = range()
      expect(zoomed.from).toBeLessThan(zoomed.to)
      const now = await stepOf(page, 'live')
      expect(zoomed.to).toBeLessThan(now)
      // The next point leads the line to the edge.
      await expect.poll(lastX, soon).toBeLessThan(zoomed.to + 2)

      await expect.poll(() => stepOf(page, 'live'), soon).toBeGreaterThan(now + 75)
      expect(range()).toEqual(zoomed)
      expect(await lastX()).toBeLessThan(zoomed.to + 2)

      await page.reload()
      await plot.waitFor()
      expect(range()).toEqual(zoomed)
      await page.getByTitle('Back to the whole range (r)').waitFor()
      await plot.dblclick()
      await expect.poll(range, soon).toEqual({ from: Number.NaN, to: Number.NaN })
    }))

  test('a run that is stopped is shown as stopped, and gets top tokens with its checkpoint, without a reload', () =>
    site.on('page=experts', async (page) => {
      await showOnly(page, 'live')
      await heatMap(page).press('Home')
      await heatMap(page).press('Enter')
      const panel = page.getByRole('region', { name: 'Expert 0 of layer 0' })
      await panel.getByText('No checkpoint yet').waitFor()
      live().running.kill('SIGINT')
      await expect.poll(() => textOf(rowOf(page, 'live')), soon).toContain('Stopped')
      await expect.poll(() => panel.getByRole('row').count(), soon).toBeGreaterThan(1)
      await live().running.ended
    }))

  test('a text is routed again with a newer checkpoint, without a reload', () =>
    site.on('page=tokens', async (page) => {
      await pickRun(page, 'live')
      const panel = page.getByRole('region', { name: 'Routing of live' })
      const traced = async () => Number(/step ([\d,]+)/.exec(await textOf(panel))?.[1]?.replaceAll(',', ''))
      await panel.waitFor()
      const before = await traced()
      const more = site.workspace.start('train', '--resume', site.workspace.file('runs/live'))
      await expect.poll(() => stepOf(page, 'live'), soon).toBeGreaterThan(before)
      more.kill('SIGINT')
      await more.ended
      await expect.poll(traced, soon).toBeGreaterThan(before)
    }))

  test('a run that starts while the page is open appears, and ends as finished', () =>
    site.on('', async (page) => {
      await rowOf(page, 'one').waitFor()
      expect(await rowOf(page, 'late').count()).toBe(0)
      const late = site.workspace.start('train', site.workspace.config(one), '--out', 'runs/late')
      await expect.poll(() => textOf(rowOf(page, 'late')), soon).toContain('Finished')
      expect(await stepOf(page, 'late')).toBe(30)
      await expectSuccess(late)
    }))

  test('smoothing and a logarithmic axis are in the address, and survive a reload', () =>
    site.on('', async (page) => {
      const smoothing = page.getByRole('slider', { name: 'Smoothing' })
      await smoothing.fill('0.9')
      await page.getByRole('checkbox', { name: 'Log y' }).check()
      await expect.poll(() => page.url(), soon).toMatch(/smoothing=0\.9/)
      expect(page.url()).toMatch(/log=1/)
      await page.reload()
      expect(await smoothing.inputValue()).toBe('0.9')
      expect(await page.getByRole('checkbox', { name: 'Log y' }).isChecked()).toBe(true)
    }))

  test('held-out loss is the first card, training loss the second; a curve can be downloaded as SVG and PNG', () =>
    site.on('', async (page) => {
      await rowOf(page, 'two').waitFor()
      await showOnly(page, 'two')
      const cards = page.getByRole('article')
      await card(page, 'eval/loss').getByRole('img').waitFor()
      expect(await cards.nth(0).getAttribute('data-metric')).toBe('eval/loss')
      expect(await cards.nth(1).getAttribute('data-metric')).toBe('train/loss')
      const svg = (await downloaded(page, 'eval/loss', 'Drawing (SVG)')).toString()
      expect(svg).toMatch(/^(?:<\?xml[^>]*>\s*)?<svg[\s\S]*<\/svg>\s*$/)
      expect(svg).toMatch(/<text[^>]*>\u2068two\u2069\s/)
      const png = await downloaded(page, 'eval/loss', 'Picture (PNG)')
      expect(png.subarray(0, 8)).toEqual(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'))
      expect(png.length).toBeGreaterThan(5000)
    }))
})
