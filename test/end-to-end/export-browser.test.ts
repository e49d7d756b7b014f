/**
 * Checks an exported ONNX model in Chromium: onnxruntime-web gives the logits of Choir, in steps with the cache.
 *
 * @slow
 */
import { copyFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createRuntime } from '../../src/engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../src/node/data/testing/temporary-folder.ts'
import { largestDifference, ownLogits } from '../../src/use/interchange/export/logits.ts'
import { onnxFiles } from '../../src/use/interchange/export/onnx/builder.ts'
import { onnxModel } from '../../src/use/interchange/export/onnx/model.ts'
import { randomModel } from '../../src/use/interchange/export/testing/random-model.ts'
import { weightsOf } from '../../src/use/interchange/export/weights.ts'
import { executable, openBrowser, serve } from './web-site.ts'

const { make } = temporaryFolder()
const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

const dist = join(dirname(createRequire(import.meta.url).resolve('onnxruntime-web')))

/** The script of the page. It computes the logits of all tokens: of a prompt first, and then token by token. */
const script = `
import * as ort from './ort.wasm.min.mjs'
ort.env.wasm.numThreads = 1
globalThis.logitsOf = async ({ tokens, prompt, layers, heads, head }) => {
  const session = await ort.InferenceSession.create('./model.onnx', { executionProviders: ['wasm'] })
  const ports = Array.from({ length: layers }, (_, l) => ['key', 'value'].map((kind) => l + '.' + kind)).flat()
  let cache = ports.map(() => new ort.Tensor('float32', new Float32Array(), [1, heads, 0, head]))
  const logits = []
  const ints = (values) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length])
  for (let done = 0; done < tokens.length; ) {
    const step = done === 0 ? prompt : 1
    const range = (from, length) => Array.from({ length }, (_, i) => from + i)
    const results = await session.run({
      input_ids: ints(tokens.slice(done, done + step)),
      position_ids: ints(range(done, step)),
      attention_mask: ints(range(0, done + step).map(() => 1)),
      ...Object.fromEntries(ports.map((port, i) => ['past_key_values.' + port, cache[i]])),
    })
    logits.push(...results.logits.data)
    cache = ports.map((port) => results['present.' + port])
    done += step
  }
  return logits
}
`

describe.skipIf(!executable)('in Chromium', () => {
  test('a mixture by prototypes with a shared expert runs in onnxruntime-web', async () => {
    const { config, store } = randomModel(11, {
      sequence: 16,
      keyValueHeads: 2,
      moe: { experts: 6, hidden: 5, k: 1, router: 'prototype', prototypes: 3, sharedHidden: 7 },
    })
    const folder = make()
    const [model] = await onnxFiles(onnxModel(config, weightsOf(store)), {})
    const pieces = await Promise.all((model?.pieces ?? []).map(({ read }) => read()))
    writeFileSync(join(folder, 'model.onnx'), Buffer.concat(pieces))
    for (const name of ['ort.wasm.min.mjs', 'ort-wasm-simd-threaded.mjs', 'ort-wasm-simd-threaded.wasm'])
      copyFileSync(join(dist, name), join(folder, name))
    writeFileSync(join(folder, 'main.mjs'), script)
    writeFileSync(join(folder, 'index.html'), '<script type="module" src="/main.mjs"></script>')
    const site = await serve(folder)
    const browser = await openBrowser()
    try {
      const page = await browser.newPage()
      await page.goto(site.address)
      await page.waitForFunction('globalThis.logitsOf')
      const tokens = Array.from({ length: 12 }, (_, i) => (i * 5 + 2) % config.vocabulary)
      const given = { tokens, prompt: 6, layers: config.layers, heads: 2, head: 4 }
      const logits = await page.evaluate(
        (call) => (globalThis as unknown as { logitsOf(of: typeof call): Promise<number[]> }).logitsOf(call),
        given,
      )
      const own = await ownLogits(runtime, config, store, Int32Array.from(tokens))
      expect(largestDifference(own, logits)).toBeLessThan(1e-4)
    } finally {
      await browser.close()
      site.close()
    }
  }, 120_000)
})
