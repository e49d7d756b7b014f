/**
 * Compares exported ONNX models with Choir's own generation: the same random model, run in ONNX Runtime in steps with
 * its cache, gives the same logits.
 *
 * @slow
 */
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { afterAll, describe, expect, test } from 'vitest'
import { createRuntime } from '../../../../engine/cpu/cpu-runtime.ts'
import { temporaryFolder } from '../../../../node/data/testing/temporary-folder.ts'
import { largestDifference, ownLogits } from '../logits.ts'
import { cases, moe } from '../testing/cases.ts'
import { type RandomModel, randomModel, tokensOf } from '../testing/random-model.ts'
import { weightsOf } from '../weights.ts'
import { onnxFiles } from './builder.ts'
import { onnxModel } from './model.ts'
import { onnxLogits } from './read.ts'

const { make } = temporaryFolder()
const runtime = await createRuntime({ threads: 1 })
afterAll(() => runtime.close())

/** Writes a model's files and returns the path of its graph. */
async function written({ config, store }: RandomModel, maxInlineBytes?: number): Promise<string> {
  const folder = make()
  for (const { name, pieces } of await onnxFiles(onnxModel(config, weightsOf(store)), {}, maxInlineBytes))
    writeFileSync(join(folder, name), Buffer.concat(await Promise.all(pieces.map(({ read }) => read()))))
  return join(folder, 'model.onnx')
}

describe('logits in ONNX Runtime equal the logits of Choir', () => {
  test.each(Object.entries(cases))('for the model %s', async (_, settings) => {
    const model = randomModel(7, { sequence: 16, ...settings })
    const path = await written(model)
    const tokens = tokensOf(model, 13)
    const own = await ownLogits(runtime, model.config, model.store, tokens)
    for (const steps of [[13], [5, 1, 1, 4, 1, 1]]) {
      const theirs = await onnxLogits(path, model.config, tokens, steps)
      expect(largestDifference(own, theirs)).toBeLessThan(1e-4)
    }
  })

  test('with weights in a file of their own', async () => {
    const model = randomModel(8, { sequence: 16, moe: { ...moe, k: 1 } })
    const path = await written(model, 0)
    const tokens = tokensOf(model, 9)
    expect(statSync(join(path, '..', 'model.onnx_data')).size).toBeGreaterThan(4096)
    const own = await ownLogits(runtime, model.config, model.store, tokens)
    expect(largestDifference(own, await onnxLogits(path, model.config, tokens, [9]))).toBeLessThan(1e-4)
  })

  test('for a batch whose shorter text is padded on the left', async () => {
    const model = randomModel(9, { sequence: 16, window: 4, moe: { ...moe } })
    const { config, store } = model
    const session = await InferenceSession.create(await written(model))
    const [long, short] = [tokensOf(model, 8), tokensOf(model, 5)]
    const rows = (values: number[]) => new Tensor('int64', BigInt64Array.from(values, BigInt), [2, 8])
    const empty = new Tensor('float32', new Float32Array(), [2, config.heads, 0, config.width / config.heads])
    const cache = Array.from({ length: config.layers }, (_, layer) => [
      [`past_key_values.${layer}.key`, empty],
      [`past_key_values.${layer}.value`, empty],
    ]).flat()
    const { logits } = await session.run({
      input_ids: rows([...long, 0, 0, 0, ...short]),
      position_ids: rows([0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 1, 2, 3, 4]),
      attention_mask: rows([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1]),
      ...Object.fromEntries(cache),
    })
    await session.release()
    const data = (logits as Tensor).data as Float32Array
    const ofLong = await ownLogits(runtime, config, store, long)
    const ofShort = await ownLogits(runtime, config, store, short)
    expect(largestDifference(ofLong, data.subarray(0, ofLong.length))).toBeLessThan(1e-4)
    expect(largestDifference(ofShort, data.subarray(data.length - ofShort.length))).toBeLessThan(1e-4)
  })
})
