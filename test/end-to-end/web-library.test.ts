/**
 * `choir/web` without a worker, in Chromium: losses on a GPU, the storage of the browser, and a missing GPU.
 *
 * @slow
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { WebTraining } from '../../src/faces/browser/web-training.ts'
import type * as Library from '../../src/faces/library/web.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { bundle, executable, openBrowser, type Site, serve, smallConfig } from './web-site.ts'

const { make } = temporaryFolder()
const text = { name: 'notes.txt', content: 'the sea and the ship and the people of the sea. '.repeat(60) }

describe.skipIf(!executable)('in Chromium', () => {
  let site: Site
  let browser: Browser
  let page: Page
  beforeAll(async () => {
    const [root, out] = [make(), make()]
    writeFileSync(join(root, 'index.html'), '<script type="module" src="/main.js"></script>')
    writeFileSync(join(root, 'main.js'), `import * as choir from 'choir/web'\nObject.assign(window, { choir })`)
    await bundle(root, out)
    site = await serve(out)
    browser = await openBrowser()
    page = await browser.newPage()
    await page.goto(site.address)
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    site?.close()
  })

  test('the losses equal the losses of the CPU in Node, up to rounding', async () => {
    const inPage = await page.evaluate(
      async ([config, given]) => {
        const { openBrowserRuntime, WebTraining } = (globalThis as unknown as { choir: typeof Library }).choir
        const runtime = await openBrowserRuntime()
        const training = await WebTraining.open({ config, text: given, runtime })
        const losses: number[] = []
        for (let step = 0; step < 5; step++) losses.push((await training.step()).record.loss)
        const { tokens } = await training.trace('the ship')
        await training.close()
        await runtime.close()
        return { losses, tokens: tokens.join('') }
      },
      [smallConfig, text] as const,
    )
    const runtime = await createRuntime({ threads: 1 })
    const training = await WebTraining.open({ config: smallConfig, text, runtime })
    for (const loss of inPage.losses) {
      const { record } = await training.step()
      expect(Math.abs(loss - record.loss)).toBeLessThan(1e-4)
    }
    expect(inPage.tokens).toBe('the ship')
    await training.close()
    await runtime.close()
  }, 200_000)

  test.each(['opfsStore', 'indexedDbStore', 'browserStore'] as const)('%s keeps a run across visits', async (kind) => {
    const save = (bytes: number[]) =>
      page.evaluate(
        async ([name, values]) => {
          const { choir } = globalThis as unknown as { choir: typeof Library }
          await (await choir[name](`test-${name}`)).save(Uint8Array.from(values))
        },
        [kind, bytes] as const,
      )
    const load = () =>
      page.evaluate(async (name) => {
        const { choir } = globalThis as unknown as { choir: typeof Library }
        const zip = await (await choir[name](`test-${name}`)).load()
        return zip && [...zip]
      }, kind)
    expect(await load()).toBe(null)
    await save([1, 2, 3])
    await save(Array.from({ length: 1000 }, (_, i) => i % 256))
    await save([4, 5])
    await page.reload()
    expect(await load()).toEqual([4, 5])
    await page.evaluate(async (name) => {
      const { choir } = globalThis as unknown as { choir: typeof Library }
      await (await choir[name](`test-${name}`)).clear()
    }, kind)
    expect(await load()).toBe(null)
  })

  test('the error without WebGPU names the browsers that have it', async () => {
    const without = await chromium.launch({
      executablePath: executable as string,
      args: ['--no-sandbox', '--disable-features=WebGPU', '--disable-gpu'],
    })
    try {
      const plain = await without.newPage()
      await plain.goto(site.address)
      const message = await plain.evaluate(async () => {
        const { choir } = globalThis as unknown as { choir: typeof Library }
        return choir.openBrowserRuntime().then(
          () => 'none',
          (error: Error) => error.message,
        )
      })
      expect(message).toMatch(/^no (?:WebGPU in this browser \(Chrome and Edge from 113|GPU: this browser has WebGPU)/)
    } finally {
      await without.close()
    }
  }, 60_000)
})
