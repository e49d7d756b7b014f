/** `choir play`: runs that the browser has stored. Needs a build. */
import { describe, expect, test } from 'vitest'
import { named } from './dashboard-page.ts'
import { patience, playSite, text } from './play-page.ts'
import { executable } from './web-site.ts'

describe.skipIf(!executable)(named('choir play'), { timeout: 400_000 }, () => {
  const { problems, visit, reaches, stepOf } = playSite()

  test('after the tab was closed the stored run can be opened, and goes on', async () => {
    const before = await visit()
    await before.getByRole('radio', { name: 'Your own' }).check()
    await before.getByLabel('Your text').fill(text)
    await before.getByLabel('Compare with a second setting').uncheck()
    await before.getByRole('button', { name: 'Train', exact: true }).click()
    await expect.poll(() => stepOf(before, 'A'), patience).toBeGreaterThan(2)
    await before.getByRole('button', { name: 'Pause' }).click()
    await reaches(before, 'A', /paused/)
    await before.close()

    const page = await visit()
    await page.getByRole('button', { name: 'Open the stored runs' }).click()
    await reaches(page, 'A', /paused/)
    const step = await stepOf(page, 'A')
    expect(step).toBeGreaterThan(2)
    await page.getByRole('button', { name: 'Continue' }).click()
    await expect.poll(() => stepOf(page, 'A'), patience).toBeGreaterThan(step)
    expect(problems).toEqual([])
    await page.close()
  })
})
