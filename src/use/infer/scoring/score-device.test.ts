/**
 * Scores on a GPU, which may be a software device.
 *
 * @slow
 */
import { afterAll, describe, expect, test } from 'vitest'
import { createRuntime } from '../../../engine/cpu/cpu-runtime.ts'
import { createDeviceRuntime } from '../../../engine/webgpu/runtime.ts'
import { testDevice } from '../../../engine/webgpu/testing/run-kernel.ts'
import type { ContinuationScore, TextScore } from './score.ts'
import { bySteps, bytes, expectNear, LONG, score, scoredModel, TEXT, values } from './testing/scored-model.ts'

describe.skipIf(testDevice === null)('on WebGPU', () => {
  const gpu = createDeviceRuntime(testDevice as NonNullable<typeof testDevice>)
  afterAll(() => gpu.close())

  test('scores are those of the CPU, and a continuation is greedy where it is on the CPU', async () => {
    const cpu = await createRuntime({ threads: 1 })
    const onCpu = await scoredModel(cpu)
    const continued: { context: string; continuation: string }[] = []
    for (let letter = 65; letter < 91; letter++) {
      const context = String.fromCharCode(letter)
      const [, next] = await bySteps(onCpu, [bytes.endOfText, letter, 0])
      const likeliest = next?.likeliest as number
      // White space would belong to the continuation, and bytes from 128 on are no characters.
      if (likeliest > 32 && likeliest < 127) continued.push({ context, continuation: String.fromCharCode(likeliest) })
    }
    const items = [LONG, TEXT, ...continued, ...continued.map(({ context }) => ({ context, continuation: ' and' }))]
    const [expected, found] = [await score(onCpu, items), await score(await scoredModel(gpu), items)]
    for (const [i, of] of expected.entries()) expectNear(values(found[i] as TextScore), values(of as TextScore), 1e-4)
    const greedy = found.slice(2).map((of) => (of as ContinuationScore).isGreedy)
    expect(continued.length).toBeGreaterThan(0)
    expect(greedy).toEqual([...continued.map(() => true), ...continued.map(() => false)])
    await cpu.close()
  })
})
