/** Tests of the memory of staged programs: live values are not overwritten, and little memory is wasted. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { KernelStage, Stage, StagedModel } from '../../../core/graph/stages/contract.ts'
import { cut } from '../../../core/graph/stages/cut.ts'
import { evaluateProgram, kernel, programs, runStages } from '../../../core/graph/stages/testing/staged-programs.ts'
import { input, type Tensor } from '../../../core/graph/tensor.ts'
import { placeValues } from './memory.ts'

const LINE = 64
const roundUp = (bytes: number): number => Math.ceil(bytes / LINE) * LINE

/** A hand-written program: each stage reads and writes values; value 0 is an input, the last value an output. */
function program(
  sizes: readonly number[],
  stages: readonly [from: number[], to: number[], overwrites?: true][],
): StagedModel {
  const use = (value: number) => ({ value, shape: [sizes[value] as number] })
  const stage = ([from, to, overwrites]: readonly [number[], number[], true?]): KernelStage => ({
    kind: 'kernel',
    type: 'test',
    attributes: {},
    inputs: from.map(use),
    outputs: to.map(use),
    names: { inputs: from.map((_, i) => `x${i}`), outputs: to.map((_, i) => `y${i}`) },
    added: [],
    overwrites: overwrites === true,
    origin: { op: '', layer: '' },
  })
  return {
    inputs: [{ name: 'in', dtype: 'float32', shape: [sizes[0] as number] }],
    outputs: [{ name: 'out', dtype: 'float32', shape: [sizes.at(-1) as number] }],
    valueOfInput: [0],
    valueOfOutput: [sizes.length - 1],
    values: sizes.map((size) => ({ dtype: 'float32', size })),
    stages: stages.map(stage),
  }
}

/** First and last stage of the life of each value that is not a port; constants are always live. */
function lifetimes({ values, stages, valueOfInput, valueOfOutput }: StagedModel): (readonly [number, number] | null)[] {
  const ports = new Set([...valueOfInput, ...valueOfOutput])
  return values.map(({ constant }, value) => {
    if (ports.has(value)) return null
    if (constant) return [0, stages.length]
    const touches = (uses: Stage['inputs']) => uses.some((use) => use.value === value)
    const written = stages.findIndex(({ outputs }) => touches(outputs))
    const read = stages.findLastIndex(({ inputs }) => touches(inputs))
    return written < 0 ? null : [written, Math.max(written, read)]
  })
}

/** The largest number of bytes that are live at once: a lower bound for every placement. */
function minBytes(model: StagedModel, live = lifetimes(model)): number {
  const at = (stage: number) =>
    live.reduce((bytes, life, value) => {
      const isLive = life !== null && life[0] <= stage && stage <= life[1]
      return bytes + (isLive ? roundUp((model.values[value]?.size ?? 0) * 4) : 0)
    }, 0)
  return Math.max(0, ...model.stages.map((_, stage) => at(stage)))
}

describe('random programs', () => {
  test('compute correct results in planned memory that starts as NaN', () => {
    const ports = { x: [1, -2, 3, 0.5, 4, -1], y: [2, 1, -1, 3, 0.25, 5] }
    fc.assert(
      fc.property(programs, (program) => {
        const model = cut(program)
        const { offsets, bytes } = placeValues(model)
        const memory = new Float64Array(bytes / 4).fill(Number.NaN)
        const bound = new Map<number, readonly number[]>()
        model.inputs.forEach(({ name }, i) => {
          bound.set(model.valueOfInput[i] as number, ports[name as 'x'])
        })
        const isPort = new Set([...model.valueOfInput, ...model.valueOfOutput])
        const place = (value: number) => {
          const offset = offsets[value]
          const size = model.values[value]?.size as number
          if (offset === null || offset === undefined) throw new Error(`value ${value} has no memory`)
          return memory.subarray(offset / 4, offset / 4 + size)
        }
        model.values.forEach(({ constant }, value) => {
          if (constant) place(value).set(Array.from(constant, Number))
        })
        runStages(model, {
          read: (value) => (isPort.has(value) ? (bound.get(value) as number[]) : Array.from(place(value))),
          write: (value, numbers) => (isPort.has(value) ? bound.set(value, numbers) : place(value).set(numbers)),
        })
        for (const [i, [name, expected]] of Object.entries(evaluateProgram(program, ports)).entries()) {
          expect(model.outputs[i]?.name).toBe(name)
          const result = bound.get(model.valueOfOutput[i] as number) as number[]
          expected.forEach((value, at) => {
            expect(Math.abs((result[at] as number) - value)).toBeLessThanOrEqual(1e-9 * Math.abs(value))
          })
        }
      }),
      { numRuns: 300 },
    )
  })

  test('values live at the same time do not overlap, and start at cache lines', () => {
    const drawn = fc
      .record({
        sizes: fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 3, maxLength: 30 }),
        reads: fc.array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 30, maxLength: 30 }),
        overwrites: fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
      })
      .map(({ sizes, reads, overwrites }) =>
        program(
          sizes,
          sizes.slice(1).map((_, i): [number[], number[], true?] => {
            const from = (reads[i] as number[]).map((n) => n % (i + 1))
            return overwrites[i] ? [from, [i + 1], true] : [from, [i + 1]]
          }),
        ),
      )
    fc.assert(
      fc.property(drawn, (model) => {
        const { offsets, bytes } = placeValues(model)
        const live = lifetimes(model)
        const bytesOf = (value: number) => (model.values[value]?.size as number) * 4
        live.forEach((life, a) => {
          expect(offsets[a] === null).toBe(life === null)
          const at = offsets[a]
          if (!life || at === null || at === undefined) return
          expect(at % LINE).toBe(0)
          expect(at + bytesOf(a)).toBeLessThanOrEqual(bytes)
          for (let b = 0; b < a; b++) {
            const [other, to] = [live[b], offsets[b]]
            if (!other || to === null || to === undefined) continue
            if (at >= to + bytesOf(b) || to >= at + bytesOf(a)) continue
            // Overlapping values are never live at once, or the later value overwrites the earlier one at its last
            // read.
            const apart = life[1] < other[0] || other[1] < life[0]
            const stage = model.stages[life[0]] as KernelStage
            const over = stage.overwrites && stage.inputs[0]?.value === b && other[1] === life[0] && at === to
            const chained = stage.overwrites && at === to && life[0] >= other[1]
            expect(apart || over || chained, `values ${a} and ${b}`).toBe(true)
          }
        })
        expect(bytes).toBeLessThanOrEqual(2 * minBytes(model))
      }),
      { numRuns: 300 },
    )
  })
})

describe('chains', () => {
  const chain = (sizes: readonly number[], overwrites?: true) =>
    program(
      sizes,
      sizes.slice(1).map((_, i): [number[], number[], true?] => (overwrites ? [[i], [i + 1], true] : [[i], [i + 1]])),
    )

  test('of equal values alternate between two places', () => {
    expect(placeValues(chain(new Array(50).fill(160))).bytes).toBe(2 * 640)
  })

  test('of kernels that overwrite take one place', () => {
    expect(placeValues(chain(new Array(50).fill(160), true)).bytes).toBe(640)
  })

  test('of random sizes take at most half more than the largest two neighbours', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 3, maxLength: 60 }), (sizes) => {
        const model = chain(sizes)
        expect(placeValues(model).bytes).toBeLessThanOrEqual(1.5 * minBytes(model) + LINE)
      }),
      { numRuns: 300 },
    )
  })

  test('of a forward and a backward pass take the memory that is live between the passes', () => {
    const depth = 20
    // Values 1..depth are activations. Each gradient is computed from the previous gradient and an activation.
    const sizes = [64, ...new Array(depth).fill(1600), ...new Array(depth).fill(1600)]
    const forward = Array.from({ length: depth }, (_, i): [number[], number[]] => [[i], [i + 1]])
    const backward = Array.from({ length: depth }, (_, i): [number[], number[]] => [
      [depth + i, depth - i],
      [depth + i + 1],
    ])
    const model = program(sizes, [...forward, ...backward])
    expect(placeValues(model).bytes).toBe(minBytes(model))
  })
})

describe('overwriting', () => {
  const x = input('x', 'float32', [16])
  const grow = (from: Tensor) => kernel('grow', [from], { overwrites: true, local: true })[0] as Tensor
  const mix = (a: Tensor, b: Tensor) => kernel('mix', [a, b], { local: true })[0] as Tensor
  /** Whether each kernel that may overwrite its input does so. */
  const overwritten = (outputs: Record<string, Tensor>): boolean[] => {
    const model = cut({ outputs })
    const { offsets } = placeValues(model)
    return model.stages.flatMap((stage) =>
      stage.kind === 'kernel' && stage.overwrites
        ? [offsets[stage.inputs[0]?.value as number] === offsets[stage.outputs[0]?.value as number]]
        : [],
    )
  }

  test('happens if the input is not read later', () => {
    expect(overwritten({ y: mix(grow(mix(x, x)), x) })).toEqual([true])
    expect(overwritten({ y: mix(grow(grow(grow(mix(x, x)))), x) })).toEqual([true, true, true])
  })

  test('does not happen if the input is read later', () => {
    const a = mix(x, x)
    expect(overwritten({ y: mix(grow(a), a) })).toEqual([false])
    const [b, c] = [mix(x, x), mix(x, x)]
    const [first, second] = [grow(b), grow(b)]
    expect(overwritten({ y: mix(mix(first, second), c) })).toEqual([false, true])
  })

  test('does not happen to a constant, which lives through all runs', () => {
    const model = program(
      [4, 4, 4, 4],
      [
        [[1], [2], true],
        [[2, 0], [3]],
      ],
    )
    const values = model.values.map((value, i) => (i === 1 ? { ...value, constant: new Float32Array(4) } : value))
    const { offsets } = placeValues({ ...model, values })
    expect(offsets[1]).not.toBe(offsets[2])
  })

  test('does not happen if the result has another size', () => {
    const { offsets } = placeValues(
      program(
        [4, 16, 200, 1],
        [
          [[0], [1]],
          [[1], [2], true],
          [[2], [3]],
        ],
      ),
    )
    expect(offsets[1]).not.toBe(offsets[2])
  })
})
