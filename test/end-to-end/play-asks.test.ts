/**
 * What `choir play` asks and says: no button is disabled, trainings are not replaced without a question, the text of both
 * sides is prepared once, and every state of the page is readable at three widths and in both colours. Needs a build.
 *
 * @slow
 */
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { violationsOn } from './accessible.ts'
import { named } from './dashboard-page.ts'
import { patience, playSite, text } from './play-page.ts'
import { executable } from './web-site.ts'

describe.skipIf(!executable)(named('what choir play asks and says'), { timeout: 400_000 }, () => {
  const { problems, visit, phaseOf, reaches, stepOf } = playSite()

  const train = (page: Page) => page.getByRole('button', { name: 'Train', exact: true })
  const banner = (page: Page) => page.locator('.banner')

  async function trainOwnText(page: Page, steps: string): Promise<void> {
    await page.getByRole('radio', { name: 'Your own' }).check()
    await page.getByLabel('Your text').fill(text)
    await page.getByRole('combobox', { name: /^Experts/ }).selectOption('4')
    await page.getByRole('spinbutton', { name: 'Steps' }).fill(steps)
    await page.getByRole('spinbutton', { name: 'Steps' }).press('Tab')
    await train(page).click()
  }

  test('both sides and later trainings take one preparation of the speeches, which are small on the way', async () => {
    const page = await visit(`
      globalThis.commands = []
      const send = Worker.prototype.postMessage
      Worker.prototype.postMessage = function (message, ...rest) {
        if (message.command) commands.push([message.command, message.input?.text?.kind].filter(Boolean).join(' '))
        return send.call(this, message, ...rest)
      }`)
    const commands = async (command: string) =>
      ((await page.evaluate('commands')) as string[]).filter((each) => each.startsWith(command))
    await train(page).click()
    await expect.poll(() => commands('open'), patience).toEqual(['open prepared', 'open prepared'])
    expect(await commands('prepare')).toEqual(['prepare'])
    await page.getByRole('button', { name: 'Try it' }).first().click()
    await expect.poll(() => commands('open'), patience).toEqual(Array.from({ length: 4 }, () => 'open prepared'))
    expect(await commands('prepare')).toEqual(['prepare'])
    const bytes = await page.evaluate(
      'performance.getEntriesByType("resource").map(({ name, transferSize }) => [name, transferSize])',
    )
    const speeches = (bytes as [string, number][]).filter(([name]) => name.endsWith('speeches.bin'))
    expect(speeches).toHaveLength(1)
    // 10.8 million characters.
    expect(speeches[0]?.[1]).toBeLessThan(4e6)
    expect(problems).toEqual([])
    await page.close()
  })

  test('a button that cannot act says what is missing', async () => {
    const page = await visit()
    await page.getByRole('radio', { name: 'Your own' }).check()
    await train(page).click()
    await banner(page).getByText('Your text is empty: paste some pages, or choose a file.').waitFor()
    expect(await phaseOf(page, 'A').count()).toBe(0)
    await page.getByRole('radio', { name: 'Speeches' }).check()
    await train(page).click()
    await page.getByRole('button', { name: 'Save B' }).click()
    await banner(page).getByText('B: nothing can be saved yet, because it is still being prepared.').waitFor()
    await page.getByRole('button', { name: 'Write' }).click()
    await banner(page).getByText('nothing can be written yet').waitFor()
    expect(await page.locator('button:disabled').count()).toBe(0)
    expect(problems).toEqual([])
    await page.close()
  })

  test('trainings are replaced after a question only, by keyboard too, and the note is of the lesson that trains', async () => {
    const page = await visit()
    await trainOwnText(page, '500')
    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(1)
    const tryIt = page.getByRole('button', { name: 'Try it' }).first()
    const dialog = page.getByRole('dialog', { name: 'Two trainings are under way' })
    await tryIt.focus()
    await page.keyboard.press('Enter')
    await dialog.waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    expect(await phaseOf(page, 'A').getAttribute('data-phase')).toBe('running')
    expect(await page.getByRole('note').count()).toBe(0)
    await page.keyboard.press('Enter')
    await dialog.getByRole('button', { name: 'Start the lesson' }).press('Enter')
    await page.getByRole('note').getByText('One expert for each token.').waitFor()
    await reaches(page, 'A', /preparing/)
    await page.getByRole('button', { name: 'Pause' }).click()
    await reaches(page, 'A', /paused/)
    await reaches(page, 'B', /paused/)
    const group = page.getByRole('group', { name: 'A', exact: true })
    await group.getByRole('combobox', { name: /^Router/ }).selectOption('hash')
    // No step is done, so nothing is lost.
    await page.getByRole('button', { name: 'Start over' }).click()
    await reaches(page, 'A', /preparing/)
    expect(await page.getByRole('note').count()).toBe(0)
    expect(problems).toEqual([])
    await page.close()
  })

  // Each width, each colour, and the parts of wide and narrow pages in both colours.
  const looks = [
    { width: 390, scheme: 'light' },
    { width: 390, scheme: 'dark' },
    { width: 1024, scheme: 'dark' },
    { width: 1440, scheme: 'light' },
  ] as const

  /** Fails for what does not fit the width, a violation of the rules of accessibility. */
  async function expectReadable(page: Page, state: string): Promise<void> {
    for (const { width, scheme } of looks) {
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme: scheme })
      const look = `${state}, ${width} px, ${scheme}`
      expect
        .soft(await page.evaluate('[document.scrollingElement.scrollWidth, innerWidth]'), look)
        .toEqual([width, width])
      // Width and colours change contrast and sizes; names and roles are the same.
      const rules = width === 1440 && scheme === 'light' ? undefined : ['color-contrast', 'target-size']
      expect.soft(await violationsOn(page, rules), look).toEqual([])
    }
  }

  test('every state is readable at 390, 1024 and 1440 pixels, in light or in dark', async () => {
    const page = await visit()
    await page.locator('.balancing .heat-box canvas').first().waitFor()
    await page.getByRole('button', { name: 'Pause (space)' }).click()
    await expectReadable(page, 'before training')
    await page.setViewportSize({ width: 1440, height: 900 })
    await page.getByText('Prototypes: k top-1').click()
    await trainOwnText(page, '500')
    await expectReadable(page, 'in preparation')
    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(1)
    await expect.poll(() => page.locator('.trace .t').count(), patience).toBeGreaterThan(20)
    await expectReadable(page, 'two trainings under way')
    await page.getByRole('button', { name: 'Try it' }).click()
    await page.getByRole('dialog').waitFor()
    await expectReadable(page, 'a question')
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: 'Pause', exact: true }).click()
    await reaches(page, 'A', /paused/)
    await page.getByRole('radio', { name: 'Experts over time' }).check()
    await expectReadable(page, 'paused, experts over time')
    await page.getByRole('spinbutton', { name: 'Steps' }).fill('3')
    await page.getByRole('spinbutton', { name: 'Steps' }).press('Tab')
    await page.getByRole('button', { name: 'Start over' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Start over' }).click()
    await reaches(page, 'A', /finished/)
    await reaches(page, 'B', /finished/)
    await expect.poll(() => page.locator('.trace .t').count(), patience).toBeGreaterThan(20)
    await expectReadable(page, 'finished')
    expect(problems).toEqual([])
    await page.close()
  })
})
