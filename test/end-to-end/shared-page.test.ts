/**
 * The page of `choir watch --share` as somebody who gets it uses it: from a file, in a real browser, on a phone too.
 *
 * @slow
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openChromium } from '../../bench/support/browser.ts'
import { randomFor } from '../../src/core/random.ts'
import { violationsOn } from './accessible.ts'
import { chromium, coloursOf, named, soon, textOf, type VisitOptions, visit } from './dashboard-page.ts'
import { makeRun } from './dashboard-runs.ts'
import { expectSuccess, prose, Workspace } from './support.ts'

const attack = '<img src=x onerror=alert(1)>'
const breakout = '</script><script>alert(2)</script><!--\u2028'
const LIMIT = 2_000_000

describe.skipIf(chromium === undefined)(named('a shared page'), { timeout: 120_000 }, () => {
  let workspace: Workspace
  let browser: Browser
  beforeAll(async () => {
    workspace = new Workspace()
    browser = await openChromium(chromium as string)
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    workspace?.remove()
  })

  /** Shares a run, and returns what the command prints. */
  async function share(run: string, out: string, ...args: string[]): Promise<Record<string, unknown>> {
    const { stdout } = await expectSuccess(workspace.start('watch', run, '--share', '--out', out, '--json', ...args))
    return JSON.parse(stdout)
  }

  const open = (file: string, use: (page: Page) => Promise<void>, options: VisitOptions = {}) =>
    visit(
      browser,
      pathToFileURL(workspace.file(file)).href,
      async (page) => {
        await use(page)
        // A page from a file has the origin of every other file.
        expect(await page.evaluate('performance.getEntriesByType("resource").length')).toBe(0)
      },
      options,
    )

  /** A run of so many steps whose expert 1 of layer 1 takes three quarters from half of them on, and expert 0 dies. */
  const collapsing = (name: string, steps: number, planned = steps) =>
    makeRun(workspace, name, {
      sets: ['train.routingEvery=10', 'model.layers=2'],
      steps: planned,
      train: Array.from({ length: steps }, (_, i) => ({ loss: 6 - (3 * i) / steps })),
      heldOut: Object.fromEntries(Array.from({ length: 10 }, (_, i) => [((i + 1) * steps) / 10, 6 - i / 4])),
      routing: Array.from({ length: steps / 10 }, (_, i) => 10 * (i + 1)).flatMap((step) =>
        [0, 1].map((layer) => ({
          step,
          layer,
          tokens_per_expert: layer === 1 && step > steps / 2 ? [0, 300, 50, 50] : [98, 102, 101, 99],
        })),
      ),
    })

  describe('of a training', () => {
    let before: Record<string, string>
    const files = () => {
      const run = workspace.file('runs', 'real')
      const found = readdirSync(run, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
      return Object.fromEntries(
        found.map(({ parentPath, name }) => {
          const path = join(parentPath, name)
          return [path, `${statSync(path).mtimeMs} ${readFileSync(path).toString('base64')}`]
        }),
      )
    }
    beforeAll(async () => {
      writeFileSync(workspace.file('words.txt'), prose(2, 8000))
      const config = workspace.config({
        model: { moe: { experts: 8, router: 'prototype', prototypes: 2, k: 1 } },
        data: { source: workspace.file('words.txt') },
        train: { steps: 20, checkpointEvery: 5, keep: 9, routingEvery: 1, evalEvery: 5 },
      })
      await expectSuccess(workspace.start('train', config, '--out', 'runs/real'))
      before = files()
      expect(await share('runs/real', 'real.html', '--data', '.')).toMatchObject({
        ...{ kind: 'share', file: 'real.html', name: 'real', state: 'finished', step: 20 },
        ...{ snapshots: 20, snapshots_recorded: 20, text_steps: [5, 10, 15, 20], text_left_out: null },
      })
    }, 120_000)

    test('changes no file of the run', () => {
      expect(files()).toEqual(before)
    })

    test('names no folder of the machine', () => {
      expect(readFileSync(workspace.file('real.html'), 'utf8')).not.toContain(workspace.path)
    })

    test.each([
      [390, 'light'],
      [390, 'dark'],
      [1024, 'dark'],
      [1440, 'light'],
    ] as const)('is readable at %i pixels, %s, by axe and without scrolling sideways', (width, colorScheme) =>
      open(
        'real.html',
        async (page) => {
          await page.getByRole('heading', { name: 'real', exact: true }).waitFor()
          const widths = await page.evaluate('[document.scrollingElement.scrollWidth, innerWidth]')
          expect(widths).toEqual([width, width])
          const ground = await page.evaluate('getComputedStyle(document.body).backgroundColor')
          const [red = 128] = String(ground).match(/\d+/g)?.map(Number) ?? []
          expect(red > 128 ? 'light' : 'dark').toBe(colorScheme)
          for (const map of await page.locator('.heat-box canvas').all())
            expect(await coloursOf(map)).toBeGreaterThan(3)
          await page.locator('summary').click()
          expect(await violationsOn(page)).toEqual([])
        },
        { viewport: { width, height: 844 }, colorScheme },
      ),
    )

    test('recolours the text by checkpoint, and says which experts a token has had', () =>
      open('real.html', async (page) => {
        const text = page.getByRole('application', { name: /^Held-out text/ })
        const experts = () =>
          text
            .locator('.t')
            .evaluateAll((tokens) => tokens.map((t) => (t as unknown as { className: string }).className))
        const last = await experts()
        expect(last.length).toBeGreaterThan(20)
        expect(last.every((name) => /^t side-0 e\d$/.test(name))).toBe(true)
        await page.getByRole('button', { name: 'step 5', exact: true }).click()
        await expect.poll(experts, soon).not.toEqual(last)
        await page.getByRole('slider', { name: 'Snapshot' }).fill('2')
        await expect.poll(async () => new Set(await experts()), soon).toEqual(new Set(['t side-0 none']))
        await page.getByText('Uncoloured until the first checkpoint, at step 5.').waitFor()
        await text.press('ArrowRight')
        await page.getByText(/goes to expert .* at (every checkpoint|steps 5, 10, 15 and 20)/).waitFor()
      }))
  })

  describe('of 2,400 steps', () => {
    beforeAll(async () => {
      await collapsing('long', 2400)
      expect(await share('runs/long', 'long.html')).toMatchObject({
        snapshots: 240,
        text_steps: [],
        text_left_out: expect.stringContaining('no checkpoint'),
        moments: expect.arrayContaining([
          expect.objectContaining({ kind: 'overload', step: 1210, router: 1, experts: [1] }),
          expect.objectContaining({ kind: 'death', step: 1210, router: 1, experts: [0] }),
        ]),
      })
    }, 120_000)

    test('is below 2 MB', () => {
      expect(statSync(workspace.file('long.html')).size).toBeLessThan(LIMIT)
    })

    test('plays, pauses, and follows the slider', () =>
      open('long.html', async (page) => {
        const slider = page.getByRole('slider', { name: 'Snapshot' })
        expect(await slider.inputValue()).toBe('239')
        const picture = () =>
          page
            .locator('.heat-box canvas')
            .first()
            .evaluate((c) => (c as unknown as { toDataURL(): string }).toDataURL())
        const end = await picture()
        await page.getByRole('button', { name: 'Play (space)' }).click()
        await expect.poll(async () => Number(await slider.inputValue()), soon).toBeLessThan(100)
        await expect.poll(async () => Number(await slider.inputValue()), soon).toBeGreaterThan(5)
        expect(await picture()).not.toBe(end)
        await page.locator('h1').click()
        await page.keyboard.press(' ')
        await page.getByRole('button', { name: 'Play (space)' }).waitFor()
        const paused = await slider.inputValue()
        await slider.press('ArrowRight')
        expect(await slider.inputValue()).toBe(String(Number(paused) + 1))
      }))

    test('shows no other snapshot after a pause, at whatever time it comes', () =>
      open('long.html', async (page) => {
        await page.getByRole('combobox', { name: 'Snapshots per second' }).selectOption('30')
        const moved = await page.evaluate(`(async () => {
          const frames = async (count) => {
            for (let i = 0; i < count; i++) await new Promise(requestAnimationFrame)
          }
          const button = document.querySelector('button.play')
          const slider = document.querySelector('input[aria-label=Snapshot]')
          const moved = []
          for (let pause = 0; pause < 20; pause++) {
            button.click()
            await frames(6 + (pause % 5))
            button.click()
            // Rendering what was before the pause takes microtasks, and no frame.
            for (let i = 0; i < 10; i++) await null
            const at = slider.value
            await frames(5)
            if (slider.value !== at) moved.push([at, slider.value])
          }
          return moved
        })()`)
        expect(moved).toEqual([])
        expect(Number(await page.getByRole('slider', { name: 'Snapshot' }).inputValue())).toBeGreaterThan(20)
      }))

    test('a moment jumps to its step and outlines its expert, by pointer and by keyboard', () =>
      open('long.html', async (page) => {
        const moments = page.getByRole('navigation', { name: 'Moments' })
        const death = moments.getByRole('button', { name: /Expert 0 of layer 1 gets no tokens any more/ })
        await death.click()
        const slider = page.getByRole('slider', { name: 'Snapshot' })
        expect(await slider.getAttribute('aria-valuetext')).toBe('step 1210, snapshot 121 of 240')
        expect(await death.getAttribute('aria-pressed')).toBe('true')
        expect(await textOf(page.locator('.share-caption'))).toBe(
          'Step 1,210 Expert 0 of layer 1 gets no tokens any more',
        )
        expect(await page.getByRole('combobox', { name: 'Layer' }).inputValue()).toBe('1')
        await expect.poll(() => page.locator('.cell-outline').count(), soon).toBe(2)
        await slider.press('ArrowLeft')
        expect(await death.getAttribute('aria-pressed')).toBe('false')
        const half = moments.getByRole('button', { name: /Held-out loss has fallen half of its way/ })
        await half.focus()
        await page.keyboard.press('Enter')
        expect(await half.getAttribute('aria-pressed')).toBe('true')
        const map = page.getByRole('application', { name: 'Load of 4 experts in 2 layers' })
        await map.press('Home')
        expect(await textOf(map.locator('[aria-live]'))).toContain('layer 0, expert 0: 1.0 times the mean')
      }))
  })

  test('of 2,400 snapshots of twelve layers is below 2 MB, plays, and says that it has some of them', async () => {
    const random = randomFor(3, 'loads')
    const routing = Array.from({ length: 2400 }, (_, i) => i + 1).flatMap((step) =>
      Array.from({ length: 12 }, (_, layer) => {
        const tokens_per_expert = Array.from({ length: 16 }, () => 900 + random.integer(200))
        return { step, layer, tokens_per_expert, kept_per_expert: tokens_per_expert.map((tokens) => tokens - 7) }
      }),
    )
    const sets = ['model.layers=12', 'model.moe.experts=16', 'train.routingEvery=1']
    await makeRun(workspace, 'large', { sets, train: Array.from({ length: 2400 }, () => ({})), routing })
    const { snapshots, bytes } = await share('runs/large', 'large.html')
    expect(snapshots).toBeGreaterThan(200)
    expect(snapshots).toBeLessThan(2400)
    expect(bytes).toBe(statSync(workspace.file('large.html')).size)
    expect(bytes).toBeLessThan(LIMIT)
    await open('large.html', async (page) => {
      await page.getByText(/\(of 2,400 in the run\)/).waitFor()
      await page.getByRole('button', { name: 'Play (space)' }).click()
      const slider = page.getByRole('slider', { name: 'Snapshot' })
      await expect.poll(async () => Number(await slider.inputValue()), soon).toBeGreaterThan(5)
    })
  })

  test('with hostile names and texts shows them as text', async () => {
    const source = workspace.file('hostile.txt')
    const line = `${attack} and ${breakout} are words like others.\n\n`
    writeFileSync(source, Array.from({ length: 60 }, (_, i) => `${i} ${line}`).join(''))
    const run = `runs/${attack}`
    const config = workspace.config({
      model: { moe: { experts: 4 } },
      data: { source },
      train: { steps: 3, routingEvery: 1, checkpointEvery: 3 },
    })
    await expectSuccess(workspace.start('train', config, '--out', run))
    await share(run, 'hostile.html', '--data', source)
    await open('hostile.html', async (page) => {
      await page.getByRole('heading', { name: attack, exact: true }).waitFor()
      expect(await page.title()).toContain(attack)
      const text = page.getByRole('application', { name: /^Held-out text/ })
      expect(await textOf(text)).toContain('</script><script>alert(2)</script>')
      expect(await page.locator('img, iframe').count()).toBe(0)
      expect(await page.locator('script').count()).toBe(2)
    })
  })

  test('of a training that goes on says so', async () => {
    await collapsing('going', 40, 400)
    await share('runs/going', 'going.html')
    await open('going.html', async (page) => {
      await page.getByText('while the training was running, at step 40 of 400: the end is not in it').waitFor()
    })
  })

  test('of a run that stayed even says that nothing was notable', async () => {
    const routing = Array.from({ length: 20 }, (_, i) => ({
      step: i + 1,
      layer: 0,
      tokens_per_expert: [98, 102, 101, 99],
    }))
    await makeRun(workspace, 'even', { sets: ['model.layers=1'], train: routing.map(() => ({})), routing })
    expect(await share('runs/even', 'even.html')).toMatchObject({ moments: [], moments_found: 0 })
    await open('even.html', async (page) => {
      await page.getByText('Nothing notable by the rules at the end of this page.').waitFor()
      await page.getByText('The run has no evaluation on held-out text').waitFor()
      expect(await violationsOn(page)).toEqual([])
    })
  })
})
