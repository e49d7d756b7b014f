/**
 * Compares kernels with bf16 math with float64: they agree within the rounding error of bfloat16 factors.
 *
 * @slow
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StagedModel } from '../src/core/graph/stages/contract.ts'
import { type Tensor, withKernels } from '../src/core/graph/tensor.ts'
import type { Runtime } from '../src/engine/contract/runtime.ts'
import { createRuntime } from '../src/engine/cpu/cpu-runtime.ts'
import { findDnnl } from '../src/engine/cpu/primitives/onednn/library.ts'
import * as g from '../src/faces/library/graph.ts'
import { matmulCase } from './support/kernel-cases.ts'
import { checkCase, draw, type KernelCase, runOnce, trace } from './support/kernel-check.ts'
import { moderate } from './support/kernel-shapes.ts'

/** bfloat16 has 8 significant bits: the relative error of a factor is at most 2⁻⁹, and of a product twice as much. */
const BF16 = 2 ** -8

const library = findDnnl()
const hasBf16 = 'path' in library && library.bf16
const hasAmx = 'path' in library && library.amx

describe.skipIf(!hasBf16)(hasBf16 ? 'with bf16 math' : 'with bf16 math (skipped: no bfloat16 on this machine)', () => {
  let single: Runtime
  let crew: Runtime
  beforeAll(async () => {
    single = await createRuntime({ threads: 1 })
    crew = await createRuntime({ threads: 2, math: 'bf16' })
  })
  afterAll(async () => {
    await crew.close()
    await single.close()
  })

  test('the runtime reports bf16 and has no notice', () => {
    expect(crew.math).toBe('bf16')
    expect(crew.notice).toBeUndefined()
  })

  test('the error of each element of a product is at most the error of its factors, 2⁻⁸ · Σ |a·b|', async () => {
    let worst = 0
    const shapes = [
      { m: 64, k: 256, n: 96 },
      { m: 33, k: 65, n: 17, transposeA: true },
      { m: 1, k: 300, n: 40, transposeB: true },
      { batch: [2], m: 40, k: 31, n: 50, transposeA: true, transposeB: true, alpha: -0.5 },
      { m: 48, k: 64, n: 32, size: 1e10 },
    ]
    for (const [i, shape] of shapes.entries()) {
      const given = matmulCase(shape)
      const values = draw(given, i)
      const results = await runOnce(
        crew,
        withKernels(crew.kernels, () => trace(given, 'float32', i)),
        values,
      )
      const exact = await runOnce(single, trace(given, 'float64', i), values)
      const sizes = await runOnce(single, trace(given, 'float64', i), {
        a: (values.a as Float32Array).map(Math.abs),
        b: (values.b as Float32Array).map(Math.abs),
      })
      const { y0: y = [], ...rest } = results
      y.forEach((value, at) => {
        const error = Math.abs(Number(value) - Number(exact.y0?.[at])) / Math.abs(Number(sizes.y0?.[at]))
        worst = Math.max(worst, error)
      })
      for (const gradient of Object.values(rest))
        for (const value of gradient) expect(Number.isFinite(value)).toBe(true)
    }
    expect(worst).toBeLessThan(1.01 * BF16)
    // The error shows that bfloat16 is really used.
    expect(worst).toBeGreaterThan(BF16 / 100)
  })

  for (const op of [
    'attention-kernel',
    'expert-ffn-kernel',
    'expert-linear-kernel',
    'linear-cross-entropy',
    'matmul',
    'rms-norm',
    'routing',
  ] as const)
    test(`${op} is within the error of its products`, async () => {
      for (const [i, given] of (moderate[op] ?? []).entries())
        await checkCase(given, crew, { tolerance: 8 * BF16, seed: i + 1, reference: single })
    })

  test('values between kernels are bfloat16 without AMX, and results are within the error of their products', async () => {
    const chain: KernelCase = {
      inputs: { x: { shape: [70, 32] }, weight: { shape: [32] }, up: { shape: [32, 48] }, down: { shape: [48, 32] } },
      build: ({ x, weight, up, down }) => {
        const inner = g.matmul(g.rmsNorm(x as Tensor, weight as Tensor, 1e-5), up as Tensor)
        return g.add(x as Tensor, g.matmul(inner, down as Tensor))
      },
      kernels: ['rms-norm', 'rms-norm-gradient', 'matmul'],
    }
    await checkCase(chain, crew, { tolerance: 8 * BF16, seed: 1, reference: single })
    const program = withKernels(crew.kernels, () => trace(chain, 'float32', 1))
    const executable = await crew.compile(program)
    const { values } = executable.model as StagedModel
    // The values are the norm's rows, their product, and its gradient. With AMX, oneDNN rounds float32 as it reads it.
    const halves = hasAmx ? [] : [70 * 32, 70 * 48, 70 * 48]
    expect(values.filter(({ dtype }) => dtype === 'bfloat16').map(({ size }) => size)).toEqual(halves)
    executable.release()
  })
})
